//! A WebSocket through the layers: an answer of 101, and the connection after it.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};
use tower::{Layer, Service, ServiceExt};
use tower_failover::adapter::ReqwestService;
use tower_failover_compat::{Body, Rig, Upstream, answer, client, empty, separate};

/// Accepts the upgrade and echoes each message.
async fn serve(mut request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.headers()[header::UPGRADE], "websocket");
    let accept = derive_accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message @ Message::Text(_))) = socket.next().await {
            socket.send(message).await.unwrap();
        }
    });
    let mut answer = answer(StatusCode::SWITCHING_PROTOCOLS, empty());
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, "upgrade".parse().unwrap());
    headers.insert(header::UPGRADE, "websocket".parse().unwrap());
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.parse().unwrap());
    answer
}

async fn rig() -> Rig {
    Rig::new(Upstream::serving(serve).await)
}

/// Opens a socket and exchanges messages; returns 200 if it works.
async fn talk<S, RB>(service: &mut S, uri: &str) -> u16
where
    S: Service<Request<Full<Bytes>>, Response = Response<RB>>,
    S::Error: std::fmt::Debug,
{
    // The key and the answer to it are those of RFC 6455 §1.3.
    let request = Request::get(uri)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Full::default())
        .unwrap();
    let answer = service.ready().await.unwrap().call(request).await.unwrap();
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer.status().as_u16();
    }
    assert_eq!(answer.headers()[header::SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    for word in ["one", "two"] {
        socket.send(Message::text(word)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(word));
    }
    socket.close(None).await.unwrap();
    200
}

#[tokio::test]
async fn fused_layer_serves_a_websocket() {
    let mut rig = rig().await;
    let mut service = rig.fused().build().unwrap().layer(client());
    let uri = rig.upstream.at("/live");
    rig.check_failover(async || talk(&mut service, &uri).await).await;
}

#[tokio::test]
async fn separate_layers_serve_a_websocket() {
    let mut rig = rig().await;
    let mut service = separate!(rig, client());
    let uri = rig.upstream.at("/live");
    rig.check_failover(async || talk(&mut service, &uri).await).await;
}

#[tokio::test]
async fn fused_layer_serves_a_websocket_over_reqwest() {
    let mut rig = rig().await;
    let mut service = rig.fused().build().unwrap().layer(ReqwestService::default());
    let uri = rig.upstream.at("/live");
    rig.check_failover(async || talk(&mut service, &uri).await).await;
}
