//! The legacy client of hyper-util.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, Code, Failover, ServedBy, body::ReplayBody, classify::Origin, failure,
};
use tower_failover_compat::{
    CAP, FILM, Rig, Streaming, client, post, separate, streams_both_ways, within_a_minute,
};

/// A client in a struct: its type can be named.
struct App {
    upstream: Failover<Client<HttpConnector, Full<Bytes>>>,
}

#[tokio::test]
async fn fused_layer_serves_the_client() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().build().unwrap();
    let mut app = App { upstream: failover.layer(client()) };
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut app.upstream, &uri, Full::<Bytes>::from(FILM)).await)
        .await;
}

#[tokio::test]
async fn separate_layers_serve_the_client() {
    let mut rig = Rig::echo().await;
    let mut service = separate!(rig, client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Full::<Bytes>::from(FILM)).await).await;
}

#[tokio::test]
async fn dead_pool_answers_with_the_help_text() {
    let rig = Rig::echo().await;
    let mut service = rig.fused().build().unwrap().layer(client::<Full<Bytes>>());
    rig.pool.retire("alice");
    rig.pool.retire("bob");
    let request = Request::get(rig.upstream.at("/videos/1")).body(Full::default()).unwrap();
    let answer = within_a_minute(service.ready().await.unwrap().call(request)).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(answer.headers().contains_key("www-authenticate"));
    let cause = failure(&answer).unwrap();
    assert_eq!((cause.origin, cause.code), (Origin::Local, Code::CredentialInactive));
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(problem["code"], "credential_inactive");
    assert_eq!(problem["help"], "get new tokens in Settings");
    assert_eq!(rig.upstream.tokens(), [""; 0]);
}

/// A gate without a pool remembers rejected credentials, whoever set them.
#[tokio::test]
async fn gate_sends_a_rejected_token_of_the_caller_once() {
    let rig = Rig::echo().await;
    let gate = AuthShortCircuitLayer::new().any_credential();
    let service = gate.layer(client::<Full<Bytes>>());
    rig.upstream.reject("mine");
    let call = |token: &str| {
        let request = Request::get(rig.upstream.at("/videos/1"))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        within_a_minute(service.clone().oneshot(request))
    };
    assert_eq!(call("mine").await.unwrap().status(), 401);
    let local = call("mine").await.unwrap();
    assert_eq!(local.status(), 401);
    assert_eq!(failure(&local).unwrap().origin, Origin::Local);
    assert_eq!(call("yours").await.unwrap().status(), 200);
    assert_eq!(rig.upstream.tokens(), ["mine", "yours"]);
}

/// The attempts have the caller's body, and the body with the replaced model.
#[tokio::test]
async fn overloaded_model_is_replaced_by_the_next() {
    let rig = Rig::echo().await;
    let fused = rig.fused().served_by(true).build().unwrap();
    let service = fused.layer(client());
    let separate = ServiceBuilder::new()
        .layer(rig.dedup())
        .layer(rig.models().served_by(true))
        .layer(rig.retry())
        .layer(rig.rotation().served_by(true))
        .layer(rig.gate())
        .service(client());
    let request = || {
        Request::post(rig.upstream.at("/chat"))
            .header("content-type", "application/json")
            .body(Full::<Bytes>::from(r#"{"model": "large", "n": 1.0}"#))
            .unwrap()
    };
    rig.upstream.next(&[529]);
    let fused = within_a_minute(service.oneshot(request())).await.unwrap();
    rig.upstream.next(&[529]);
    let separate = within_a_minute(separate.oneshot(request())).await.unwrap();
    assert_eq!(fused.extensions().get::<ServedBy>(), separate.extensions().get::<ServedBy>());
    for (answer, text) in [
        (fused.status(), fused.into_body().collect().await.unwrap().to_bytes()),
        (separate.status(), separate.into_body().collect().await.unwrap().to_bytes()),
    ] {
        assert_eq!(
            (answer.as_u16(), &*text),
            (200, br#"{"model": "medium", "n": 1.0}"#.as_slice())
        );
    }
    assert_eq!(rig.upstream.tokens().len(), 4);
}

#[tokio::test]
async fn streaming_body_flows_both_ways_at_once() {
    let rig = Rig::echo().await;
    let fused = rig.fused().buffered(CAP).build().unwrap().layer(client::<ReplayBody<Streaming>>());
    let separate =
        separate!(rig, client::<ReplayBody<ReplayBody<ReplayBody<Streaming>>>>(), .buffered(CAP));
    let uri = rig.upstream.at("/upload");
    within_a_minute(streams_both_ways(fused, &uri)).await;
    within_a_minute(streams_both_ways(separate, &uri)).await;
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"; 2]);
}
