//! A credential that is rejected in the pool, or in the memory of the gate, is not sent.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use http::{Request, StatusCode};
use support::{
    Recorder, Step, Upstream,
    boxed::{Boxed, boxed},
    get, pool, stack,
};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, Code, FailoverLayer, RetryLayer, RetryPolicy, TokenRotationLayer,
    failure,
    pool::State,
    retry::{Backoff, Jitter},
};

/// Builds a request with a credential of the caller.
fn own_request() -> Request<stack::Body> {
    let mut request = get();
    request.headers_mut().insert("authorization", "Bearer mine".parse().unwrap());
    request
}

/// Builds a gate for every credential, alone over this upstream.
fn open_gate(upstream: &Upstream) -> Boxed {
    boxed(AuthShortCircuitLayer::new().any_credential().layer(upstream.clone()))
}

async fn status(service: &Boxed, request: Request<stack::Body>) -> u16 {
    service.clone().oneshot(request).await.unwrap().status().as_u16()
}

// --- rejections that the gate has seen

#[tokio::test(start_paused = true)]
async fn rejected_credential_is_not_sent_for_a_while() {
    let upstream = Upstream::statuses(&[401, 401]);
    let service = open_gate(&upstream);
    assert_eq!(status(&service, own_request()).await, 401);
    let answer = service.clone().oneshot(own_request()).await.unwrap();
    assert_eq!(failure(&answer).unwrap().code, Code::CredentialInvalid);
    // Other credentials pass.
    let mut other = own_request();
    other.headers_mut().insert("authorization", "Bearer other".parse().unwrap());
    advance(Duration::from_millis(4_999)).await;
    assert_eq!((status(&service, own_request()).await, upstream.calls()), (401, 1));
    // Then one probe, and after its rejection twice the time.
    advance(Duration::from_millis(1)).await;
    assert_eq!((status(&service, own_request()).await, upstream.calls()), (401, 2));
    advance(Duration::from_millis(9_999)).await;
    assert_eq!((status(&service, own_request()).await, upstream.calls()), (401, 2));
    assert_eq!((status(&service, other).await, upstream.calls()), (200, 3));
    advance(Duration::from_millis(1)).await;
    assert_eq!((status(&service, own_request()).await, upstream.calls()), (200, 4));
}

#[tokio::test(start_paused = true)]
async fn probe_heals_with_an_answer_that_shows_the_credential_is_accepted() {
    for (probe, healed) in [(200, true), (403, true), (429, true), (503, false), (404, false)] {
        let upstream = Upstream::statuses(&[401, probe]);
        let service = open_gate(&upstream);
        assert_eq!(status(&service, own_request()).await, 401);
        advance(Duration::from_secs(5)).await;
        assert_eq!(status(&service, own_request()).await, probe);
        // Two at once: two requests with a valid credential pass, one with a dead one.
        let slow = Step::status(200).after(Duration::from_secs(1));
        upstream.push([slow.clone(), slow]);
        let (one, two) =
            tokio::join!(status(&service, own_request()), status(&service, own_request()));
        assert_eq!((one, two), (200, if healed { 200 } else { 401 }), "{probe}");
        assert_eq!(upstream.calls(), if healed { 4 } else { 3 }, "{probe}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_after_a_healing_probe_counts_as_the_first() {
    let upstream = Upstream::statuses(&[401, 401, 200, 401, 200]);
    let service = open_gate(&upstream);
    for (wait, answer) in [(0, 401), (5, 401), (10, 200), (0, 401), (5, 200)] {
        advance(Duration::from_secs(wait)).await;
        assert_eq!(status(&service, own_request()).await, answer);
    }
    assert_eq!(upstream.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn callers_own_credential_is_covered_only_on_request() {
    let upstream = Upstream::statuses(&[401, 401, 401]);
    let service = boxed(AuthShortCircuitLayer::new().layer(upstream.clone()));
    for calls in 1..=3 {
        let answer = service.clone().oneshot(own_request()).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (401, calls));
        assert!(failure(&answer).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn gate_without_a_pool_remembers_the_credential_of_a_rotation_and_no_account() {
    let upstream = Upstream::statuses(&[401]);
    let pool = pool(&["a"], &Recorder::new());
    let stack = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::new());
    let service = boxed(stack.service(upstream.clone()));
    assert_eq!(status(&service, get()).await, 401);
    assert!(pool.revive("a"));
    let answer = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(failure(&answer).unwrap().code, Code::CredentialInvalid);
    assert_eq!(upstream.calls(), 1);
    // Nothing was sent: that is not a second rejection.
    let account = &pool.view().accounts[0];
    assert_eq!((account.state, account.counts.rejected), (State::Usable, 1));
    advance(Duration::from_secs(5)).await;
    assert_eq!((status(&service, get()).await, upstream.calls()), (200, 2));
}

// --- accounts that are out in the pool

#[tokio::test(start_paused = true)]
async fn request_without_own_credential_over_a_dead_pool_is_answered_locally() {
    let upstream = Upstream::default();
    let pool = pool(&["a"], &Recorder::new());
    let service = boxed(AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone()));
    assert_eq!((status(&service, get()).await, upstream.calls()), (200, 1));
    assert!(pool.invalidate("a", tower_failover::Reason::Revoked));
    let answer = service.clone().oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(failure(&answer).unwrap().code, Code::CredentialRevoked);
    assert_eq!(upstream.calls(), 1);
    assert_eq!((status(&service, own_request()).await, upstream.calls()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn gate_passes_credentials_of_another_pool() {
    let upstream = Upstream::default();
    let [pool, other] = ["a", "b"].map(|id| pool(&[id], &Recorder::new()));
    let stack = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool))
        .layer(AuthShortCircuitLayer::with_pool(other.clone()));
    let service = boxed(stack.service(upstream.clone()));
    assert_eq!(status(&service, get()).await, 200);
    other.retire("b");
    assert_eq!(status(&service, get()).await, 200);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-a"]);
}

#[tokio::test(start_paused = true)]
async fn gate_pool_is_not_affected_by_a_rejection_of_a_rotation_below() {
    let upstream = Upstream::statuses(&[401]);
    let [pool, inner] = ["a", "x"].map(|id| pool(&[id], &Recorder::new()));
    let stack = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .layer(TokenRotationLayer::new(inner.clone()));
    let service = boxed(stack.service(upstream.clone()));
    assert_eq!(status(&service, get()).await, 401);
    assert_eq!(upstream.tokens(), ["tok-x"]);
    assert_eq!(pool.view().accounts[0].state, State::Usable);
    assert_eq!(inner.view().accounts[0].state, State::Quarantined);
}

#[tokio::test(start_paused = true)]
async fn probe_heals_its_account_when_an_outer_layer_changes_the_answer() {
    let upstream = Upstream::statuses(&[401]);
    let pool = pool(&["a"], &Recorder::new());
    // A layer between the two rejects the answer.
    let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone());
    let between = boxed(gate).map_response(|mut answer| {
        if answer.status() == 200 {
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
        }
        answer
    });
    let service = boxed(TokenRotationLayer::new(pool.clone()).layer(between));
    assert_eq!(status(&service, get()).await, 401);
    sleep(Duration::from_secs(300)).await;
    assert_eq!(status(&service, get()).await, 502);
    assert_eq!((upstream.calls(), pool.view().accounts[0].state), (2, State::Usable));
}

#[tokio::test(start_paused = true)]
async fn credential_blocked_by_a_gate_is_replaced_by_an_outer_rotation() {
    for fused in [true, false] {
        let upstream = Upstream::statuses(&[503]);
        let pool = pool(&["a", "b"], &Recorder::new());
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
        let retry = RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE));
        let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone());
        let between = if fused {
            let layer = FailoverLayer::builder().retry(retry).outermost_of_several();
            boxed(layer.build().unwrap().layer(gate))
        } else {
            boxed(RetryLayer::new(retry).layer(gate))
        };
        let service = boxed(TokenRotationLayer::new(pool.clone()).layer(between));
        let (answer, ()) = tokio::join!(service.oneshot(get()), async {
            tokio::task::yield_now().await;
            assert_eq!(upstream.tokens(), ["tok-a"]);
            assert!(pool.retire("a"));
        });
        assert_eq!(answer.unwrap().status(), 200, "fused: {fused}");
        assert_eq!(upstream.tokens(), ["tok-a", "tok-b"], "fused: {fused}");
    }
}
