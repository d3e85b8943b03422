//! Sending again what is transient, alone and under tower's own `Retry`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use support::{Recorder, Step, Upstream, get, post};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_failover::{
    Backoff, ErrorDedupLayer, FailoverLayer, Jitter, RequestOptions, RetryLayer, RetryPolicy,
    TokenBucket,
    report::{Followed, NotResent, Outcome},
};

fn quick() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
    RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE))
}

#[tokio::test(start_paused = true)]
async fn a_transient_answer_is_sent_again_after_the_backoff() {
    let upstream = Upstream::statuses(&[503, 503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.waits(), [Duration::from_millis(100), Duration::from_millis(200)]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_answer_goes_out_when_retries_are_used_up() {
    let upstream = Upstream::statuses(&[500, 502, 504, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::GATEWAY_TIMEOUT, 3));
}

#[tokio::test(start_paused = true)]
async fn a_401_is_sent_once_whatever_the_policy_allows() {
    for method in [get, post] {
        let upstream = Upstream::statuses(&[401, 200]);
        let service = RetryLayer::new(quick().retries(9)).layer(upstream.clone());
        let request = method();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!((answer.status(), upstream.calls()), (StatusCode::UNAUTHORIZED, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_done_is_not_posted_twice() {
    let recorder = Recorder::new();
    let upstream = Upstream::statuses(&[500]);
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(RetryLayer::new(quick()))
        .service(upstream.clone());
    let answer = service.clone().oneshot(post()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (500, 1));
    let failure = &recorder.failures()[0];
    assert_eq!(failure.trail[0].followed, Followed::NotResent(NotResent::PerhapsDone));

    // Refused, keyed, or promised: three ways to be sent again.
    let mut keyed = post();
    keyed.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    let mut promised = post();
    promised.extensions_mut().insert(RequestOptions::new().repeatable());
    for (request, status) in [(post(), 503), (keyed, 500), (promised, 500)] {
        let upstream = Upstream::statuses(&[status]);
        let service = RetryLayer::new(quick()).layer(upstream.clone());
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_request_is_one_report_with_all_its_attempts() {
    for fused in [false, true] {
        let recorder = Recorder::new();
        let upstream =
            Upstream::script([Step::status(503), Step::error("connect"), Step::status(500)]);
        let mut request = get();
        request.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
        request.extensions_mut().insert(RequestOptions::new().label("poll"));
        let status = if fused {
            let layer =
                FailoverLayer::builder().retry(quick()).report(recorder.clone()).build().unwrap();
            layer.layer(upstream.clone()).oneshot(request).await.unwrap().status()
        } else {
            let service = ServiceBuilder::new()
                .layer(ErrorDedupLayer::new(recorder.clone()))
                .layer(RetryLayer::new(quick()))
                .service(upstream.clone());
            service.oneshot(request).await.unwrap().status()
        };
        assert_eq!(status, 500);
        let failures = recorder.failures();
        assert_eq!((failures.len(), recorder.events().len()), (1, 1), "fused: {fused}");
        let failure = &failures[0];
        assert_eq!(failure.outcome, Outcome::Answer(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!((failure.method.as_str(), &*failure.path), ("GET", "/videos/42"));
        assert_eq!(failure.request_id.as_deref(), Some("r-1"));
        assert_eq!(failure.label.as_deref(), Some("poll"));
        assert_eq!(failure.elapsed, Duration::from_millis(300));
        let followed: Vec<_> = failure.trail.iter().map(|attempt| attempt.followed).collect();
        assert_eq!(
            followed,
            [
                Followed::Retried(Duration::from_millis(100)),
                Followed::Retried(Duration::from_millis(200)),
                Followed::NotResent(NotResent::Retries),
            ]
        );
        assert_eq!(failure.trail[1].error.as_deref(), Some("connection refused"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_a_long_rest_is_neither_asked_sooner_nor_waited_for() {
    let long = Step::answer(503, &[("retry-after", "6")], "");
    let upstream = Upstream::script([long.clone()]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
    assert_eq!(upstream.calls(), 1);

    let upstream = Upstream::script([long]);
    let policy = quick().max_wait(Duration::from_secs(6));
    let service = RetryLayer::new(policy).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.waits(), [Duration::from_secs(6)]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_forbids_attempts_and_cuts_none() {
    let slow = Step::status(503).after(Duration::from_secs(59));
    let upstream = Upstream::script([slow.clone(), slow.clone(), slow]);
    let service = RetryLayer::new(quick().retries(5)).layer(upstream.clone());
    let started = tokio::time::Instant::now();
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
    assert_eq!(upstream.calls(), 2);
    assert_eq!(started.elapsed(), Duration::from_millis(118_100));
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_shared_and_paid_back_by_success() {
    let bucket = Arc::new(TokenBucket::new(10));
    let policy = quick().paid_from(bucket.clone());
    let upstream = Upstream::default().otherwise(Step::status(503));
    let service = RetryLayer::new(policy.clone()).layer(upstream.clone());
    let (a, b) = (service.clone().oneshot(get()), service.clone().oneshot(get()));
    let _ = tokio::join!(a, b);
    assert_eq!((upstream.calls(), bucket.tokens()), (4, 0));
    let upstream = Upstream::default();
    RetryLayer::new(policy).layer(upstream).oneshot(get()).await.unwrap();
    assert_eq!(bucket.tokens(), 1);
}

#[tokio::test(start_paused = true)]
async fn towers_own_retry_takes_the_policy_and_never_repeats_a_401() {
    let upstream = Upstream::statuses(&[503, 401, 200]);
    let mut service = tower::retry::RetryLayer::new(quick().retries(9)).layer(upstream.clone());
    let answer = service.ready().await.unwrap().call(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (401, 2));
}

#[test]
fn outside_a_runtime_nothing_is_waited_for_and_nothing_panics() {
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = support::upstream::now(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 1));

    // No wait, no timer needed.
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick().backoff(Backoff::none())).layer(upstream.clone());
    let answer = support::upstream::now(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
}

#[test]
fn a_runtime_without_a_timer_is_none() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = runtime.block_on(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 1));
}
