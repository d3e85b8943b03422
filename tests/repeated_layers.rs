//! The same layer twice in one stack: one trail, one budget, and each rejection counts once.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use http::Request;
use support::{Recorder, Step, Upstream, boxed::boxed, get, limit, pool, post, stack};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_failover::{
    FailoverLayer, ModelChain, ModelFallbackLayer, RetryLayer, RetryPolicy, TokenRotationLayer,
    classify::Origin, failure, pool::State, retry::Backoff,
};

/// Returns the model of each attempt.
fn models(upstream: &Upstream) -> Vec<String> {
    let model = |body: &[u8]| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["model"].as_str().unwrap().to_owned()
    };
    upstream.sent().iter().map(|sent| model(&sent.body)).collect()
}

#[tokio::test(start_paused = true)]
async fn fallbacks_of_a_stack_visit_each_model_once() {
    let upstream = Upstream::default().otherwise(Step::status(529));
    let outer = ModelChain::list(["m1", "m2", "m4"]).unwrap();
    let inner = ModelChain::list(["m1", "m2", "m3"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(ModelFallbackLayer::new(outer).attempts(limit(20)))
        .layer(ModelFallbackLayer::new(inner).attempts(limit(20)))
        .service(upstream.clone());
    assert_eq!(service.oneshot(post()).await.unwrap().status(), 529);
    assert_eq!(models(&upstream), ["m1", "m2", "m3", "m4"]);
}

#[tokio::test(start_paused = true)]
async fn inner_attempts_count_although_a_layer_between_rebuilds_the_request() {
    let upstream = Upstream::default().otherwise(Step::status(503));
    let policy = RetryPolicy::new().retries(3).backoff(Backoff::none());
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(policy.clone()))
        .map_request(|mut request: Request<stack::Body>| {
            request.extensions_mut().clear();
            request
        })
        .layer(RetryLayer::new(policy.retries(1)))
        .service(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
    // Two times two attempts, within the four; the outer one alone would have sent four times two.
    assert_eq!(upstream.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn rotation_does_not_act_on_attempts_of_an_inner_one() {
    let again = Step::answer(429, &[("retry-after", "0")], "");
    for (step, ids, state) in [
        // It has another account, and must not try it.
        (Step::status(401), &["x", "y"][..], State::Quarantined),
        (again, &["x"], State::Usable),
    ] {
        for fused in [true, false] {
            let upstream = Upstream::script([step.clone()]);
            let outer = pool(&["a", "b"], &Recorder::new());
            let inner = pool(ids, &Recorder::new());
            let below = if fused {
                let layer = FailoverLayer::builder().rotation(inner.clone()).max_refusals(limit(1));
                let layer = layer.outermost_of_several().build().unwrap();
                boxed(layer.layer(upstream.clone()))
            } else {
                let layer = TokenRotationLayer::new(inner.clone()).max_refusals(limit(1));
                boxed(layer.layer(upstream.clone()))
            };
            let service = TokenRotationLayer::new(outer.clone()).layer(below);
            let answer = service.oneshot(get()).await.unwrap();
            // It is the answer of the upstream, once.
            assert!(failure(&answer).is_none_or(|cause| cause.origin == Origin::Upstream));
            assert_eq!(upstream.tokens(), ["tok-x"], "{state}, fused: {fused}");
            assert_eq!(inner.view().accounts[0].state, state);
            assert!(outer.view().accounts.iter().all(|a| a.state == State::Usable));
        }
    }
}
