//! Layers below layers: the facts about an attempt that they share.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use support::{Recorder, Step, Upstream, boxed::boxed, get, limit, pool, stack::Body};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_failover::{
    AuthShortCircuitLayer, Code, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer,
    Reason, RetryLayer, RetryPolicy, TokenRotationLayer, failure,
    pool::State,
    report::{Followed, Outcome},
    retry::Backoff,
};

fn quick() -> RetryPolicy {
    RetryPolicy::new().backoff(Backoff::none()).budget(tower_failover::retry::Unlimited).retries(9)
}

// --- attempts

#[tokio::test(start_paused = true)]
async fn attempts_below_a_service_that_rebuilds_requests_are_counted() {
    for (outer, inner, calls) in [(4, 4, 4), (6, 4, 8), (3, 1, 3)] {
        let upstream = Upstream::default().otherwise(Step::status(503));
        let below = RetryLayer::new(quick()).attempts(limit(inner)).layer(upstream.clone());
        // It copies the method and the URI, and no extensions.
        let between = service_fn(move |request: Request<Body>| {
            let (head, body) = request.into_parts();
            let anew = Request::builder().method(head.method).uri(head.uri).body(body).unwrap();
            below.clone().oneshot(anew)
        });
        let service = RetryLayer::new(quick()).attempts(limit(outer)).layer(between);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
        assert_eq!(upstream.calls(), calls, "{outer} outside, {inner} inside");
    }
}

#[tokio::test(start_paused = true)]
async fn answer_to_the_only_attempt_is_returned_unchanged() {
    for status in [200, 404, 500] {
        let upstream = Upstream::default().otherwise(Step::status(status));
        let answer = RetryLayer::new(quick().retries(0)).layer(upstream).oneshot(get());
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(answer.headers().is_empty() && answer.extensions().is_empty(), "{answer:?}");
    }
}

// --- the pool of a credential

#[tokio::test(start_paused = true)]
async fn account_blocked_by_a_gate_is_replaced_through_any_layer() {
    let gate = AuthShortCircuitLayer::new().any_credential();
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    // Another request: the gate has seen the rejection, and the pool has not.
    let mut own = get();
    own.headers_mut().insert("authorization", "Bearer tok-a".parse().unwrap());
    let answer = gate.layer(upstream.clone()).oneshot(own).await.unwrap();
    assert_eq!(answer.status(), 401);
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool(&["a", "b"], &Recorder::new())))
        .layer(RetryLayer::new(quick()))
        .layer(gate)
        .service(upstream.clone());
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    assert_eq!(upstream.tokens(), ["tok-a", "tok-b", "tok-b"]);
}

#[tokio::test(start_paused = true)]
async fn dead_pool_below_answers_once_for_all_accounts_above() {
    for between in [false, true] {
        let recorder = Recorder::new();
        let (above, below) = (pool(&["a", "b", "c"], &recorder), pool(&["d"], &recorder));
        assert!(below.retire("d"));
        let answers = Arc::new(AtomicUsize::new(0));
        let count = answers.clone();
        let upstream = Upstream::default();
        let inner = TokenRotationLayer::new(below)
            .local_answer(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                None
            })
            .layer(upstream.clone());
        let outer = TokenRotationLayer::new(above.clone());
        let answer = if between {
            boxed(outer.layer(RetryLayer::new(quick()).layer(inner))).oneshot(get()).await.unwrap()
        } else {
            boxed(outer.layer(inner)).oneshot(get()).await.unwrap()
        };
        assert_eq!((answer.status().as_u16(), upstream.calls()), (401, 0));
        assert_eq!(answers.load(Ordering::Relaxed), 1, "between: {between}");
        assert!(above.view().accounts.iter().all(|account| account.state == State::Usable));
    }
}

#[tokio::test(start_paused = true)]
async fn success_with_a_credential_from_below_heals_no_account_above() {
    let (above, below) = (pool(&["a"], &Recorder::new()), pool(&["b"], &Recorder::new()));
    assert!(above.invalidate("a", Reason::Invalid));
    let before = above.view().accounts[0].state;
    assert_ne!(before, State::Usable);
    let upstream = Upstream::default();
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(above.clone()))
        .layer(TokenRotationLayer::new(below))
        .service(upstream.clone());
    // Its probe is due.
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.tokens(), ["tok-b"]);
    assert_ne!(above.view().accounts[0].state, State::Usable);
}

#[tokio::test(start_paused = true)]
async fn probe_success_heals_its_account_when_a_layer_above_changes_the_answer() {
    let accounts = pool(&["a"], &Recorder::new());
    assert!(accounts.invalidate("a", Reason::Invalid));
    let upstream = Upstream::default();
    let gate = AuthShortCircuitLayer::with_pool(accounts.clone()).layer(upstream.clone());
    // A layer that discards the answer.
    let between = gate.map_response(|mut answer| {
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    });
    let service = TokenRotationLayer::new(accounts.clone()).layer(between);
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 502);
    assert_eq!(upstream.calls(), 1);
    assert_eq!(accounts.view().accounts[0].state, State::Usable);
}

// --- the trail

/// The first model is overloaded; while the attempt for the second one waits for its service to be
/// ready, the last usable account begins to cool.
#[tokio::test(start_paused = true)]
async fn local_answer_does_not_change_the_step_of_the_previous_attempt() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let accounts = pool(&["a", "b"], &Recorder::new());
        let overloaded = r#"{"type":"error","error":{"type":"overloaded_error"}}"#;
        let step = Step::json(529, overloaded).after(Duration::from_secs(1));
        let upstream = Upstream::script([step]);
        let chain = ModelChain::list(["m1", "m2", "m3"]).unwrap();
        let service = if fused {
            let builder = FailoverLayer::builder()
                .models(chain)
                .rotation(accounts.clone())
                .reporter(recorder.clone())
                .attempts(limit(2));
            boxed(builder.build().unwrap().layer(upstream.clone()))
        } else {
            let models = ModelFallbackLayer::new(chain).attempts(limit(2));
            let rotation = TokenRotationLayer::new(accounts.clone());
            let dedup = ErrorDedupLayer::new(recorder.clone());
            boxed(dedup.layer(models.layer(rotation.layer(upstream.clone()))))
        };
        let mut call = Box::pin(service.oneshot(support::post()));
        assert!(call.as_mut().now_or_never().is_none());
        upstream.busy(true);
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(minute, &mut call).await.is_err());
        // A fused stack has reserved the next account.
        assert!(accounts.cool_down("a", None, Duration::from_secs(1000)));
        assert!(accounts.invalidate("b", Reason::Invalid));
        upstream.busy(false);
        let answer = call.await.unwrap();
        assert_eq!(failure(&answer).unwrap().code, Code::PoolLimited, "fused: {fused}");
        let failures = recorder.failures();
        assert_eq!((failures.len(), upstream.calls()), (1, 1));
        assert_eq!(failures[0].outcome, Outcome::Local(Code::PoolLimited));
        let followed: Vec<_> = failures[0].trail.iter().map(|line| line.followed).collect();
        assert_eq!(followed, [Followed::FellBack], "fused: {fused}");
    }
}

// --- secrets

#[tokio::test(start_paused = true)]
async fn error_text_is_withheld_for_a_pool_too_large_to_search() {
    for (accounts, shown) in [(1024, true), (1025, false)] {
        let ids: Vec<String> = (0..accounts).map(|n| n.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let recorder = Recorder::new();
        let layer = FailoverLayer::builder()
            .rotation(pool(&ids, &Recorder::new()))
            .reporter(recorder.clone())
            .build()
            .unwrap();
        let service = service_fn(|_: Request<Full<Bytes>>| async {
            Err::<http::Response<Full<Bytes>>, tower::BoxError>("a plain reason".into())
        });
        assert!(layer.layer(service).oneshot(get()).await.is_err());
        let error = recorder.failures()[0].trail[0].error.clone().unwrap();
        assert_eq!(&*error == "a plain reason", shown, "{error}");
    }
}
