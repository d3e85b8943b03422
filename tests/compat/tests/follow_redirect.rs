//! `FollowRedirect` of tower-http, outside: every redirect is a request of its own.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_failover::{Code, failure};
use tower_failover_compat::{
    FILM, Rig, Upstream, answer, client, empty, post, separate, text, within_a_minute,
};
use tower_http::follow_redirect::FollowRedirectLayer;

/// Redirects every path but one to that one.
async fn rig() -> Rig {
    Rig::new(
        Upstream::serving(async |request: Request<_>| match request.uri().path() {
            "/here" => answer(StatusCode::OK, text(FILM)),
            _ => leads_to("/here"),
        })
        .await,
    )
}

fn leads_to(location: &str) -> Response<tower_failover_compat::Body> {
    let mut answer = answer(StatusCode::TEMPORARY_REDIRECT, empty());
    answer.headers_mut().insert(header::LOCATION, location.parse().unwrap());
    answer
}

/// Checks the failover of every client, hop by hop.
async fn check_failover<S, RB>(rig: &mut Rig, service: &mut S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<RB>>,
    S::Error: std::fmt::Debug,
    RB: http_body::Body,
    RB::Error: std::fmt::Debug,
{
    let (alice, bob) = ("token-of-alice", "token-of-bob");
    let (there, here) = (rig.upstream.at("/there"), rig.upstream.at("/here"));
    rig.upstream.reject(alice);
    assert_eq!(within_a_minute(post(service, &there, Full::default())).await, 200);
    assert_eq!(rig.upstream.tokens(), [alice, bob, bob], "the second hop skips alice");

    rig.upstream.next(&[307, 503]);
    assert_eq!(
        within_a_minute(post(service, &here, Full::default())).await,
        307,
        "without a location"
    );
    assert_eq!(within_a_minute(post(service, &there, Full::default())).await, 200);
    let paths: Vec<_> = rig.upstream.sent().into_iter().map(|sent| sent.path).collect();
    assert_eq!(paths, ["/here", "/there", "/there", "/here"], "only the hop that failed");
    assert_eq!(rig.reported(), ["account_out"]);

    rig.upstream.reject(bob);
    assert_eq!(within_a_minute(post(service, &there, Full::default())).await, 401);
    assert_eq!(rig.upstream.tokens(), [bob]);
    assert_eq!(within_a_minute(post(service, &there, Full::default())).await, 401);
    assert_eq!(rig.upstream.tokens(), [""; 0]);
    assert_eq!(rig.reported(), ["pool_dead", "request_failed", "request_failed"]);
}

#[tokio::test]
async fn fused_layer_serves_every_hop() {
    let mut rig = rig().await;
    let mut service = ServiceBuilder::new()
        .layer(FollowRedirectLayer::new())
        .layer(rig.fused().build().unwrap())
        .service(client());
    check_failover(&mut rig, &mut service).await;
}

#[tokio::test]
async fn separate_layers_serve_every_hop() {
    let mut rig = rig().await;
    let mut service = FollowRedirectLayer::new().layer(separate!(rig, client()));
    check_failover(&mut rig, &mut service).await;
}

/// A redirect to another origin is answered locally: the token is not sent there.
#[tokio::test]
async fn token_is_not_sent_to_another_origin() {
    let elsewhere = Upstream::echo().await;
    let location = elsewhere.at("/here");
    let rig = Rig::new(
        Upstream::serving(move |_| {
            let answer = leads_to(&location);
            async { answer }
        })
        .await,
    );
    let service = FollowRedirectLayer::new().layer(rig.fused().build().unwrap().layer(client()));
    let request = Request::get(rig.upstream.at("/there")).body(Full::<Bytes>::default()).unwrap();
    let answer = within_a_minute(service.oneshot(request)).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(failure(&answer).unwrap().code, Code::OriginNotAllowed);
    assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"]);
    assert!(elsewhere.sent().is_empty());
}
