//! reqwest's client, through the adapter of the feature `reqwest`.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt};
use tower_failover::{Failover, adapter::ReqwestService, body::ReplayBody};
use tower_failover_compat::{
    CAP, FILM, Rig, Upstream, answer, empty, post, separate, streams_both_ways, within_a_minute,
};

fn client() -> ReqwestService {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .unwrap();
    client.into()
}

#[tokio::test]
async fn fused_layer_serves_the_client() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().build().unwrap();
    let mut service: Failover<ReqwestService> = failover.layer(client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Full::<Bytes>::from(FILM)).await).await;
}

#[tokio::test]
async fn separate_layers_serve_the_client() {
    let mut rig = Rig::echo().await;
    let mut service = separate!(rig, client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Full::<Bytes>::from(FILM)).await).await;
}

#[tokio::test]
async fn reqwest_body_is_kept() {
    let mut rig = Rig::echo().await;
    let failover = rig.fused().buffered_as(CAP, reqwest::Body::wrap::<ReplayBody<reqwest::Body>>);
    let mut service = failover.build().unwrap().layer(client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, reqwest::Body::from(FILM)).await).await;
}

#[tokio::test]
async fn streaming_body_flows_both_ways_at_once() {
    let rig = Rig::echo().await;
    let service = rig.fused().buffered(CAP).build().unwrap().layer(client());
    within_a_minute(streams_both_ways(service, &rig.upstream.at("/upload"))).await;
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"]);
}

/// Length and type are those of the request; a body in memory stays in memory.
#[tokio::test]
async fn request_arrives_unchanged() {
    let upstream = Upstream::serving(|request| async move {
        assert_eq!(request.uri(), "/videos?page=2&q=a%20b");
        assert_eq!(request.method(), "PUT");
        answer(http::StatusCode::IM_A_TEAPOT, empty())
    })
    .await;
    let request = |body| {
        Request::put(upstream.at("/videos?page=2&q=a%20b"))
            .header("authorization", "Bearer mine")
            .header("x-mark", "1")
            .header("x-mark", "2")
            .body(body)
            .unwrap()
    };
    let wrapped = request(reqwest::Body::wrap(Full::<Bytes>::from(FILM)));
    for request in [request(reqwest::Body::from(FILM)), wrapped] {
        let answer = within_a_minute(client().oneshot(request)).await.unwrap();
        assert_eq!(answer.status(), 418, "a status is no error");
    }
    for sent in upstream.sent() {
        assert_eq!(sent.headers["content-length"], "6");
        assert_eq!(sent.headers.get_all("x-mark").iter().collect::<Vec<_>>(), ["1", "2"]);
    }
}

#[tokio::test]
async fn error_is_a_reqwest_error() {
    let rejected = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let call = |uri: &str| {
        let request = Request::get(uri).body(String::new()).unwrap();
        within_a_minute(client().oneshot(request))
    };
    let error: reqwest::Error = call(&rejected).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    let error = call("/videos").await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
}

#[test]
fn future_can_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let mut service = client();
    is_send(&service.call(Request::new(String::new())));
    let mut layered = tower_failover::RetryLayer::default().layer(client());
    is_send(&layered.call(Request::new(String::new())));
}
