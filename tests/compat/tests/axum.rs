//! axum: a proxy behind `Router::layer`, and a proxy handler with the client in its state.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_failover::{
    Failover,
    body::{Buffered, ReplayBody},
};
use tower_failover_compat::{
    CAP, FILM, Rig, client, post, separate, streams_both_ways, within_a_minute,
};

/// Forwards each request with the headers of the layers.
#[derive(Clone)]
struct Plain {
    client: Client<HttpConnector, Body>,
    origin: String,
}

async fn forward(State(plain): State<Plain>, mut request: Request) -> Response {
    *request.uri_mut() = moved(request.uri(), &plain.origin);
    match plain.client.request(request).await {
        Ok(answer) => answer.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

/// Forwards each request through a client with all layers.
#[derive(Clone)]
struct Gateway {
    upstream: Failover<Client<HttpConnector, ReplayBody<Body>>, Buffered>,
    origin: String,
}

async fn proxy(State(mut gateway): State<Gateway>, mut request: Request) -> Response {
    *request.uri_mut() = moved(request.uri(), &gateway.origin);
    let Ok(upstream) = ServiceExt::<Request>::ready(&mut gateway.upstream).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    match upstream.call(request).await {
        Ok(answer) => answer.into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn moved(uri: &Uri, origin: &str) -> Uri {
    format!("{origin}{}", uri.path_and_query().unwrap()).parse().unwrap()
}

/// Serves this router and returns its origin.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// Checks the failover for a caller without a credential.
async fn is_seen_through(rig: &mut Rig, origin: &str) {
    within_a_minute(streams_both_ways(client(), &format!("{origin}/upload"))).await;
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"]);
    let (mut caller, uri) = (client(), format!("{origin}/videos"));
    rig.check_failover(async || post(&mut caller, &uri, Full::<Bytes>::from(FILM)).await).await;
}

fn plain(rig: &Rig) -> Router {
    let plain = Plain { client: client(), origin: rig.upstream.origin().to_owned() };
    Router::new().fallback(forward).with_state(plain)
}

#[tokio::test]
async fn router_layer_fused() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().buffered(CAP).build().unwrap();
    let origin = serve(plain(&rig).layer(failover)).await;
    is_seen_through(&mut rig, &origin).await;
}

#[tokio::test]
async fn router_layer_separate() {
    let mut rig = Rig::echo().await;
    let layers = ServiceBuilder::new()
        .layer(rig.dedup())
        .layer(rig.models().buffered(CAP))
        .layer(rig.retry().buffered(CAP))
        .layer(rig.rotation().buffered_as(CAP, Body::new::<ReplayBody<_>>))
        .layer(rig.gate());
    let origin = serve(plain(&rig).layer(layers)).await;
    is_seen_through(&mut rig, &origin).await;
}

#[tokio::test]
async fn proxy_handler_fused() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().buffered(CAP).build().unwrap();
    let gateway =
        Gateway { upstream: failover.layer(client()), origin: rig.upstream.origin().to_owned() };
    let origin = serve(Router::new().route("/{*path}", any(proxy)).with_state(gateway)).await;
    is_seen_through(&mut rig, &origin).await;
}

/// Each layer names its body type; a closure still combines them into a handler.
#[tokio::test]
async fn proxy_handler_separate() {
    let mut rig = Rig::echo().await;
    let upstream =
        separate!(rig, client::<ReplayBody<ReplayBody<ReplayBody<Body>>>>(), .buffered(CAP));
    let to = rig.upstream.origin().to_owned();
    let proxy = move |mut request: Request| {
        *request.uri_mut() = moved(request.uri(), &to);
        let answer = upstream.clone().oneshot(request);
        async move { answer.await.map_err(|_| StatusCode::BAD_GATEWAY) }
    };
    let origin = serve(Router::new().route("/{*path}", any(proxy))).await;
    is_seen_through(&mut rig, &origin).await;
}

/// A server's upgrade handle is sent with the first attempt: a WebSocket passes through a gateway,
/// and after a rejection no attempt without a handle accepts it.
#[tokio::test]
async fn upgrade_of_the_caller_is_sent_with_the_first_attempt() {
    async fn accept(request: Request) -> StatusCode {
        let handle = request.extensions().get::<hyper::upgrade::OnUpgrade>();
        match request.headers()["authorization"].as_bytes() {
            b"Bearer token-of-alice" => StatusCode::UNAUTHORIZED,
            _ if handle.is_none() => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::SWITCHING_PROTOCOLS,
        }
    }
    let rig = Rig::echo().await;
    let failover = rig.fused().buffered(CAP).build().unwrap();
    let origin = serve(Router::new().fallback(accept).layer(failover)).await;
    let call = || {
        let request = Request::get(format!("{origin}/live"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .body(Full::<Bytes>::default())
            .unwrap();
        within_a_minute(client().request(request))
    };
    assert_eq!(call().await.unwrap().status(), 426, "bob's attempt is the second");
    assert_eq!(call().await.unwrap().status(), 101, "and now the first");
}
