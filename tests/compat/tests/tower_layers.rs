//! Layers of tower and tower-http around, between and below those of this crate.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{
    BoxError, Layer, Service, ServiceBuilder, ServiceExt,
    buffer::BufferLayer,
    hedge::{Hedge, Policy},
    limit::ConcurrencyLimitLayer,
    timeout::{TimeoutLayer, error::Elapsed},
};
use tower_failover::RequestOptions;
use tower_failover_compat::{FILM, Rig, client, post, within_a_minute};
use tower_http::trace::TraceLayer;

type Body = Full<Bytes>;

/// Longer than any answer takes.
const LONG: Duration = Duration::from_secs(60);
/// Long enough for an answer, and the duration of a test without one.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn buffer_limit_timeout_and_trace_around_the_fused() {
    let mut rig = Rig::echo().await;
    let mut service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(BufferLayer::<Request<Body>>::new(8))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(TimeoutLayer::new(LONG))
        .layer(rig.fused().build().unwrap())
        .service(client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Body::from(FILM)).await).await;
}

#[tokio::test]
async fn buffer_limit_timeout_and_trace_below_the_fused() {
    let mut rig = Rig::echo().await;
    let mut service = ServiceBuilder::new()
        .layer(rig.fused().build().unwrap())
        .layer(TraceLayer::new_for_http())
        .layer(BufferLayer::<Request<Body>>::new(8))
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(TimeoutLayer::new(LONG))
        .service(client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Body::from(FILM)).await).await;
}

#[tokio::test]
async fn buffer_limit_timeout_and_trace_between_the_separate() {
    let mut rig = Rig::echo().await;
    let mut service = ServiceBuilder::new()
        .layer(rig.dedup())
        .layer(TraceLayer::new_for_http())
        .layer(rig.models())
        .layer(BufferLayer::<Request<Body>>::new(8))
        .layer(rig.retry())
        .layer(TraceLayer::new_for_http())
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(rig.rotation())
        .layer(BufferLayer::<Request<Body>>::new(8))
        .layer(rig.gate())
        .layer(TimeoutLayer::new(LONG))
        .service(client());
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Body::from(FILM)).await).await;
}

/// Below is a limit of one: a further attempt waits for its own permit and gets it.
#[tokio::test]
async fn concurrent_requests_share_a_limit_below() {
    let rig = Rig::echo().await;
    let service = ServiceBuilder::new()
        .layer(rig.fused().build().unwrap())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(client());
    rig.upstream.reject("token-of-alice");
    rig.upstream.next(&[503, 503]);
    let uri = rig.upstream.at("/videos");
    let all = (0..8).map(|_| {
        let (mut service, uri) = (service.clone(), uri.clone());
        tokio::spawn(async move { post(&mut service, &uri, Body::from(FILM)).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(within_a_minute(one).await.unwrap(), 200);
    }
    let tokens = rig.upstream.tokens();
    assert_eq!(tokens.iter().filter(|token| *token == "token-of-bob").count(), 8 + 2);
}

/// A timeout below ends a hung attempt: a repeatable request is sent again, a paid request with a
/// lost answer is not.
#[tokio::test]
async fn timeout_below_ends_a_hung_attempt() {
    let mut rig = Rig::echo().await;
    let mut service = ServiceBuilder::new()
        .layer(rig.fused().build().unwrap())
        .layer(TimeoutLayer::new(SHORT))
        .service(client());
    let uri = rig.upstream.at("/videos");
    rig.upstream.hang();
    let mut request = Request::post(&uri).body(Body::from(FILM)).unwrap();
    request.extensions_mut().insert(RequestOptions::new().repeatable());
    let answer = within_a_minute(service.ready().await.unwrap().call(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(rig.upstream.tokens().len(), 2);
    assert_eq!(rig.reported(), [""; 0]);

    rig.upstream.hang();
    let request = Request::post(&uri).body(Body::from(FILM)).unwrap();
    let error = within_a_minute(service.ready().await.unwrap().call(request)).await.unwrap_err();
    assert!(error.is::<Elapsed>(), "{error:?}");
    assert_eq!(rig.upstream.tokens().len(), 1);
    assert_eq!(rig.reported(), ["request_failed"]);
}

/// A policy that may send any request twice at once.
#[derive(Clone, Copy, Debug)]
struct Any;

impl<B: Clone> Policy<Request<B>> for Any {
    fn clone_request(&self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Request<B>) -> bool {
        true
    }
}

/// Sends a second copy of a request that takes longer than earlier ones.
fn hedge<S>(service: S, others: Duration) -> Hedge<S, Any>
where
    S: Service<Request<Body>, Error: Into<BoxError>> + Clone,
{
    let took = [u64::try_from(others.as_millis()).unwrap(); 100];
    Hedge::new_with_mock_latencies(service, Any, 10, 0.5, 60 * LONG, &took)
}

#[tokio::test]
async fn hedge_outside_the_fused() {
    let mut rig = Rig::echo().await;
    let mut service = hedge(rig.fused().build().unwrap().layer(client()), LONG);
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Body::from(FILM)).await).await;
}

#[tokio::test]
async fn hedge_between_the_separate() {
    let mut rig = Rig::echo().await;
    let inside = ServiceBuilder::new()
        .layer(rig.models())
        .layer(rig.retry())
        .layer(rig.rotation())
        .layer(rig.gate())
        .service(client());
    let mut service = rig.dedup().layer(hedge(inside, LONG));
    let uri = rig.upstream.at("/videos");
    rig.check_failover(async || post(&mut service, &uri, Body::from(FILM)).await).await;
}

/// Two copies are in flight below one `ErrorDedup`: one request has one report, whichever copy
/// wins.
#[tokio::test]
async fn hedged_copy_is_reported_with_its_request() {
    let mut rig = Rig::echo().await;
    let soon = Duration::from_millis(1);
    let inside = ServiceBuilder::new().layer(rig.retry()).layer(rig.rotation()).service(client());
    let mut separate = rig.dedup().layer(hedge(inside, soon));
    let uri = rig.upstream.at("/videos");

    rig.upstream.hang();
    assert_eq!(within_a_minute(post(&mut separate, &uri, Body::from(FILM))).await, 200);
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"; 2]);
    assert_eq!(rig.reported(), [""; 0], "the copy that lost has not failed");

    rig.upstream.hang();
    rig.upstream.next(&[500]);
    assert_eq!(within_a_minute(post(&mut separate, &uri, Body::from(FILM))).await, 500);
    assert_eq!(rig.upstream.tokens(), ["token-of-alice"; 2]);
    let failed = rig.failures();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].outcome.status().map(|status| status.as_u16()), Some(500));
    assert_eq!(failed[0].trail.len(), 1, "{:?}", failed[0].trail);
}
