//! Counterexamples that the property tests found, each as a fixed test.

use std::{future::Future as _, time::Duration};

use http::StatusCode;
use tower::{Layer as _, ServiceBuilder, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer,
    RequestOptions, RetryLayer, RetryPolicy, ServedBy, TokenRotationLayer,
    credential::{Expires, RefreshReason, SourceError, Token},
    failure,
    pool::State,
    report::{Followed, NotResent, Outcome},
    retry::{Backoff, Jitter},
    short_circuit::AuthFailureMode,
};

use super::{
    stack::RetryEverything,
    support::{Recorder, Step, Upstream, get, limit, pool},
};

/// Boxes the service of any layer.
struct Erase<L>(L);

impl<S, L, RB> tower::Layer<S> for Erase<L>
where
    L: tower::Layer<S>,
    L::Service: tower::Service<
            http::Request<super::support::stack::Body>,
            Response = http::Response<RB>,
            Error = tower::BoxError,
        > + Clone
        + Send
        + 'static,
    <L::Service as tower::Service<http::Request<super::support::stack::Body>>>::Future:
        Send + 'static,
    RB: http_body::Body<Data = bytes::Bytes, Error = std::convert::Infallible>
        + Send
        + Sync
        + 'static,
{
    type Service = tower::util::BoxCloneService<
        http::Request<super::support::stack::Body>,
        super::stack::Answer,
        tower::BoxError,
    >;

    fn layer(&self, inner: S) -> Self::Service {
        let service = self.0.layer(inner);
        tower::util::BoxCloneService::new(
            service.map_response(|answer: http::Response<RB>| {
                answer.map(http_body_util::BodyExt::boxed)
            }),
        )
    }
}

fn quick() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
    RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE))
}

#[tokio::test(start_paused = true)]
async fn cooldown_ends_for_the_retry_that_waited_for_it() {
    let limited = Step::answer(429, &[("retry-after", "1")], "");
    let upstream = Upstream::default().token("tok-a", [limited.clone()]).token("tok-b", [limited]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(quick()))
        .layer(TokenRotationLayer::new(pool(&["a", "b"], &Recorder::new())))
        .service(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn get_without_retries_is_not_marked_perhaps_done() {
    let recorder = Recorder::new();
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(RetryLayer::new(quick().retries(0)))
        .service(Upstream::statuses(&[500]));
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 500);
    let followed = recorder.failures()[0].trail[0].followed;
    assert_eq!(followed, Followed::NotResent(NotResent::Retries));
}

#[tokio::test(start_paused = true)]
async fn replaced_answer_is_reported_as_the_caller_gets_it() {
    let recorder = Recorder::new();
    let layer = FailoverLayer::builder()
        .rotation(pool(&["a"], &recorder))
        .auth_failure(AuthFailureMode::Replace)
        .reporter(recorder.clone());
    let upstream = Upstream::script([Step::answer(200, &[("grpc-status", "16")], "")]);
    let answer = layer.build().unwrap().layer(upstream).oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(recorder.failures()[0].outcome, Outcome::Answer(StatusCode::UNAUTHORIZED));
}

/// Sends a request that gets a 503 after a second, while its pool dies.
async fn dying<L>(layer: impl Fn(tower_failover::Pool) -> L) -> (u16, Option<ServedBy>)
where
    L: tower::Layer<Upstream>,
    L::Service: tower::Service<
            http::Request<super::support::stack::Body>,
            Response = super::stack::Answer,
            Error = tower::BoxError,
        >,
{
    let pool = pool(&["a", "b"], &Recorder::new());
    let upstream = Upstream::script([Step::status(503).after(Duration::from_secs(1))]);
    let request = layer(pool.clone()).layer(upstream).oneshot(get());
    let death = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(pool.retire("a") && pool.retire("b"));
    };
    let (answer, ()) = tokio::join!(request, death);
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.extensions().get().cloned())
}

#[tokio::test(start_paused = true)]
async fn answer_is_kept_if_its_pool_dies_meanwhile() {
    let fused = |pool| {
        let builder = FailoverLayer::builder().rotation(pool).retry(quick()).served_by(true);
        Erase(builder.build().unwrap())
    };
    let stacked = |pool| {
        let layers = ServiceBuilder::new()
            .layer(RetryLayer::new(quick()))
            .layer(TokenRotationLayer::new(pool).served_by(true));
        Erase(layers.into_inner())
    };
    for (status, served) in [dying(fused).await, dying(stacked).await] {
        assert_eq!(status, 503);
        assert_eq!(served.unwrap().account.as_deref(), Some("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn gate_stops_the_repeats_of_a_foreign_retry_above() {
    let recorder = Recorder::new();
    let pool = pool(&["a", "b"], &recorder);
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(tower::retry::RetryLayer::new(RetryEverything::times(3)))
        .layer(AuthShortCircuitLayer::with_pool(pool))
        .service(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.tokens().iter().filter(|token| *token == "tok-a").count(), 1);
    assert_eq!(recorder.codes(), ["account_out"]);
}

#[tokio::test(start_paused = true)]
async fn gate_admits_the_repeat_of_a_limited_probe() {
    let recorder = Recorder::new();
    let pool = pool(&["a"], &recorder);
    let upstream = Upstream::statuses(&[401, 429, 401]);
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(tower::retry::RetryLayer::new(RetryEverything::times(1)))
        .layer(AuthShortCircuitLayer::with_pool(pool))
        .service(upstream.clone());
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 401);
    assert_eq!(upstream.calls(), 3);
    assert_eq!(recorder.codes().iter().filter(|code| **code == "pool_dead").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn deadline_begins_before_the_body_is_awaited() {
    use super::request_body::{Shape, TestBody};
    let upstream = Upstream::statuses(&[429]);
    let inner = upstream.clone();
    let inner = tower::service_fn(move |request: http::Request<TestBody>| {
        let inner = inner.clone();
        async move { inner.oneshot(request.map(|_| bytes::Bytes::new().into())).await }
    });
    let retry = RetryLayer::new(quick().retries(0)).deadline(Duration::ZERO);
    let rotation = TokenRotationLayer::new(pool(&["a", "b"], &Recorder::new()));
    let fallback = ModelFallbackLayer::new(ModelChain::default());
    let layers = ServiceBuilder::new()
        .layer(retry.buffered_as(99, TestBody::replayed))
        .layer(fallback.buffered_as(99, TestBody::replayed))
        .layer(rotation.buffered_as(99, TestBody::replayed));
    let shape = Shape { pieces: 3, pause: true, ..Shape::PLAIN };
    let request =
        http::Request::put("https://a.example/").body(TestBody::new("a cat", shape)).unwrap();
    assert_eq!(layers.service(inner).oneshot(request).await.unwrap().status(), 429);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_rotations_over_one_pool_recover_it() {
    let pool = pool(&["a"], &Recorder::new());
    let upstream = Upstream::statuses(&[401]);
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(TokenRotationLayer::new(pool.clone()))
        .service(upstream.clone());
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(pool.view().accounts[0].state, State::Usable);
}

#[tokio::test(start_paused = true)]
async fn outer_rotation_does_not_count_a_success_of_the_inner_one() {
    let (outer, inner) = (pool(&["a", "b"], &Recorder::new()), pool(&["c"], &Recorder::new()));
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(outer.clone()).served_by(true))
        .layer(TokenRotationLayer::new(inner.clone()).served_by(true))
        .service(Upstream::default());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.extensions().get::<ServedBy>().unwrap().account.as_deref(), Some("c"));
    assert!(outer.view().accounts.iter().all(|account| account.counts.succeeded == 0));
    assert_eq!(inner.view().accounts[0].counts.succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn trail_line_of_a_layer_without_a_pool_holds_no_secret() {
    let recorder = Recorder::new();
    let pool = super::support::stack::builder(&["alice-and-bob"], &recorder).build().unwrap();
    let upstream =
        Upstream::default().otherwise(Step::play(super::support::upstream::Play::EchoError));
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()).redact(&pool))
        .layer(TokenRotationLayer::new(pool))
        .layer(RetryLayer::new(quick().retries(0)))
        .service(upstream);
    assert!(service.oneshot(get()).await.is_err());
    let failure = &recorder.failures()[0];
    assert!(failure.trail[0].error.as_deref().unwrap().contains("[redacted]"));
    assert!(!format!("{failure:?}").contains("tok-alice"));
}

#[tokio::test(start_paused = true)]
async fn foreign_retry_does_not_raise_max_refusals() {
    let pool = pool(&["a", "b", "c", "d"], &Recorder::new());
    let upstream = Upstream::default().otherwise(Step::status(401));
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(Recorder::new()))
        .layer(tower::retry::RetryLayer::new(RetryEverything::times(9)))
        .layer(TokenRotationLayer::new(pool).max_refusals(limit(2)))
        .service(upstream.clone());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (401, 2));
    assert!(failure(&answer).is_some());
}

#[tokio::test(start_paused = true)]
async fn new_credential_of_a_lone_account_serves_the_next_request() {
    for retries in [0, 2] {
        let pool = pool(&["a"], &Recorder::new());
        let upstream = Upstream::script([Step::status(401).after(Duration::from_secs(1))]);
        let builder =
            FailoverLayer::builder().rotation(pool.clone()).retry(quick().retries(retries));
        let service = builder.build().unwrap().layer(upstream.clone());
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new());
        let replace = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let next = tower_failover::Credential::bearer("tok-a2").unwrap();
            pool.replace("a", next).unwrap();
        };
        let (answer, ()) = tokio::join!(service.clone().oneshot(request), replace);
        assert_eq!(answer.unwrap().status(), 401);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
        assert_eq!(upstream.tokens(), ["tok-a", "tok-a2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_without_an_attempt_is_not_in_served_by() {
    let chain = tower_failover::ModelChain::list(["m1", "m2"]).unwrap();
    let layer = FailoverLayer::builder().models(chain).served_by(true).build().unwrap();
    let mut request = get();
    // The request does not name this model, so a fallback cannot replace it.
    request.extensions_mut().insert(RequestOptions::new().model("m1"));
    let answer = layer.layer(Upstream::statuses(&[503])).oneshot(request).await.unwrap();
    let served = answer.extensions().get::<ServedBy>().unwrap();
    assert_eq!((served.model.as_deref(), served.attempts), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn local_answer_counts_no_attempt_in_any_layer() {
    let pool = pool(&["a"], &Recorder::new());
    pool.cool_down("a", None, Duration::from_secs(9));
    let service = ServiceBuilder::new()
        .layer(ModelFallbackLayer::new(ModelChain::default()).served_by(true))
        .layer(RetryLayer::new(quick()).served_by(true))
        .layer(TokenRotationLayer::new(pool).served_by(true))
        .service(Upstream::default());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.extensions().get::<ServedBy>().unwrap().attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn lone_account_below_a_fallback_cools_for_the_model_only() {
    let pool = pool(&["a"], &Recorder::new());
    let chain = tower_failover::ModelChain::default();
    let service = ServiceBuilder::new()
        .layer(tower_failover::ModelFallbackLayer::new(chain))
        .layer(TokenRotationLayer::new(pool.clone()))
        .service(Upstream::statuses(&[429]));
    assert_eq!(service.oneshot(super::support::post()).await.unwrap().status(), 429);
    let view = pool.view();
    assert_eq!(view.accounts[0].state, State::Usable);
    assert_eq!(view.accounts[0].model_cooldowns.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn model_read_by_a_layer_is_in_the_trail() {
    let recorder = Recorder::new();
    let pool = tower_failover::Pool::builder()
        .account(super::support::stack::account("a").models(["m1"]))
        .account(super::support::stack::account("b").models(["m2"]))
        .any_origin()
        .build()
        .unwrap();
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()).report_recovered(true))
        .layer(ModelFallbackLayer::new(ModelChain::default()))
        .layer(RetryLayer::new(quick()))
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool))
        .service(Upstream::statuses(&[503, 400]));
    assert_eq!(service.oneshot(super::support::post()).await.unwrap().status(), 400);
    let events = recorder.events();
    let trail = &events[0].record().unwrap().trail;
    // The model is read after the last attempt and applies to every attempt.
    assert_eq!(trail.len(), 2);
    assert!(trail.iter().all(|attempt| attempt.model.as_deref() == Some("m1")));
}

#[tokio::test(start_paused = true)]
async fn last_attempt_cools_its_account_for_the_model_only() {
    let pool = pool(&["a"], &Recorder::new());
    let chain = tower_failover::ModelChain::list(["m1", "m2"]).unwrap();
    let builder = FailoverLayer::builder().models(chain).retry(quick()).rotation(pool.clone());
    let layer = builder.attempts(limit(2)).build().unwrap();
    let upstream = Upstream::statuses(&[503, 429]);
    let answer = layer.layer(upstream).oneshot(super::support::post()).await.unwrap();
    assert_eq!(answer.status(), 429);
    let view = pool.view();
    assert_eq!(view.accounts[0].state, State::Usable);
    assert_eq!(view.accounts[0].model_cooldowns.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn model_of_an_awaited_body_is_used_for_fallback() {
    use super::request_body::{Shape, TestBody};
    for fused in [true, false] {
        let pool = tower_failover::Pool::builder()
            .account(super::support::stack::account("a").models(["m1", "m2"]))
            .account(super::support::stack::account("b").models(["m2"]))
            .any_origin()
            .build()
            .unwrap();
        let chain = tower_failover::ModelChain::list(["m1", "m2"]).unwrap();
        let upstream = Upstream::statuses(&[529]);
        let inner = upstream.clone();
        let inner = tower::service_fn(move |request: http::Request<TestBody>| {
            let inner = inner.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = http_body_util::BodyExt::collect(body).await?.to_bytes();
                inner.oneshot(http::Request::from_parts(head, body.into())).await
            }
        });
        let shape = Shape { pieces: 3, pause: true, ..Shape::PLAIN };
        let text = r#"{"model":"m1","prompt":"a cat"}"#;
        let request = http::Request::post("https://a.example/").body(TestBody::new(text, shape));
        let request = request.unwrap();
        let status = if fused {
            let builder = FailoverLayer::builder().models(chain).rotation(pool);
            let layer = builder.buffered_as(99, TestBody::replayed).build().unwrap();
            layer.layer(inner).oneshot(request).await.unwrap().status()
        } else {
            let fallback = tower_failover::ModelFallbackLayer::new(chain).pool(pool.clone());
            let layers = ServiceBuilder::new()
                .layer(fallback.buffered_as(99, TestBody::replayed))
                .layer(TokenRotationLayer::new(pool).buffered_as(99, TestBody::replayed));
            layers.service(inner).oneshot(request).await.unwrap().status()
        };
        let bodies: Vec<_> = upstream.sent().iter().map(|sent| sent.body.clone()).collect();
        assert_eq!((status.as_u16(), bodies.len()), (200, 2), "fused: {fused}");
        assert_eq!(upstream.tokens()[0], "tok-a", "fused: {fused}");
        assert_eq!(bodies[1], text.replace("m1", "m2"));
    }
}

#[tokio::test(start_paused = true)]
async fn smallest_attempt_limit_holds_for_all_layers() {
    for (outer, inner, most) in [
        (Some(2), Some(6), 2),
        (Some(6), Some(2), 2),
        (Some(6), None, 6),
        (None, Some(6), 6),
        (None, None, 4),
    ] {
        let policy = || quick().retries(9).budget(tower_failover::retry::Unlimited);
        let limited = |most: Option<u32>| match most {
            Some(most) => RetryLayer::new(policy()).attempts(limit(most)),
            None => RetryLayer::new(policy()),
        };
        let upstream = Upstream::default().otherwise(Step::status(503));
        let layers = ServiceBuilder::new().layer(limited(outer)).layer(limited(inner));
        assert_eq!(layers.service(upstream.clone()).oneshot(get()).await.unwrap().status(), 503);
        assert_eq!(upstream.calls(), most, "{outer:?} {inner:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fallback_above_a_rotation_can_be_the_probe() {
    let pool = pool(&["a"], &Recorder::new());
    let chain = tower_failover::ModelChain::list(["m1", "m2"]).unwrap();
    let upstream = Upstream::statuses(&[401, 503]);
    let service = ServiceBuilder::new()
        .layer(tower_failover::ModelFallbackLayer::new(chain))
        .layer(TokenRotationLayer::new(pool))
        .service(upstream.clone());
    assert_eq!(service.clone().oneshot(super::support::post()).await.unwrap().status(), 401);
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(service.oneshot(super::support::post()).await.unwrap().status(), 200);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn dead_pool_without_the_model_answers_pool_empty() {
    for fused in [true, false] {
        let account = super::support::stack::account("a").models(["m9"]);
        let pool = tower_failover::Pool::builder().account(account).any_origin().build().unwrap();
        assert!(pool.retire("a"));
        let chain = tower_failover::ModelChain::default();
        let request = super::support::post();
        let cause = if fused {
            let layer = FailoverLayer::builder().models(chain).rotation(pool).build().unwrap();
            let answer = layer.layer(Upstream::default()).oneshot(request).await.unwrap();
            failure(&answer).copied()
        } else {
            let service = ServiceBuilder::new()
                .layer(tower_failover::ModelFallbackLayer::new(chain))
                .layer(TokenRotationLayer::new(pool))
                .service(Upstream::default());
            failure(&service.oneshot(request).await.unwrap()).copied()
        };
        assert_eq!(cause.unwrap().code, tower_failover::Code::PoolEmpty, "fused: {fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn overloaded_model_without_another_keeps_the_reason_of_the_retry() {
    let recorder = Recorder::new();
    let chain = tower_failover::ModelChain::default();
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(tower_failover::ModelFallbackLayer::new(chain))
        .layer(RetryLayer::new(quick().retries(0)))
        .layer(TokenRotationLayer::new(pool(&["a", "b"], &Recorder::new())))
        .service(Upstream::statuses(&[529]));
    assert_eq!(service.oneshot(super::support::post()).await.unwrap().status(), 529);
    let followed = recorder.failures()[0].trail[0].followed;
    // The fused layer reports the same.
    assert_eq!(followed, Followed::NotResent(NotResent::Retries));
}

/// Returns the tokens sent for a fallback while all accounts wait for their probe.
async fn half_open<L>(layer: impl Fn(tower_failover::Pool, ModelChain) -> L) -> Vec<String>
where
    L: tower::Layer<Upstream>,
    L::Service: tower::Service<
            http::Request<super::support::stack::Body>,
            Response = super::stack::Answer,
            Error = tower::BoxError,
        > + Clone,
{
    let upstream = Upstream::default()
        .token("tok-a", [Step::status(401), Step::status(503)])
        .token("tok-b", [Step::status(401)]);
    let pool = pool(&["a", "b"], &Recorder::new());
    let service = layer(pool, ModelChain::list(["m1", "m2"]).unwrap()).layer(upstream.clone());
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
    tokio::time::advance(Duration::from_secs(300)).await;
    // The 503 neither confirms nor rejects the probe.
    let request = http::Request::post("https://api.example.com/")
        .header("content-type", "application/json")
        .body(bytes::Bytes::from(r#"{"model":"m1"}"#).into())
        .unwrap();
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    upstream.tokens()
}

#[tokio::test(start_paused = true)]
async fn fallback_leaves_a_probe_to_the_attempt_that_takes_it() {
    let fused = half_open(|pool, chain| {
        let builder = FailoverLayer::builder().rotation(pool).models(chain);
        Erase(builder.retry(quick().retries(0)).build().unwrap())
    });
    let stacked = half_open(|pool, chain| {
        let layers = ServiceBuilder::new()
            .layer(ModelFallbackLayer::new(chain).pool(pool.clone()))
            .layer(RetryLayer::new(quick().retries(0).overloaded(false)))
            .layer(TokenRotationLayer::new(pool));
        Erase(layers.into_inner())
    });
    let (fused, stacked) = (fused.await, stacked.await);
    assert_eq!(fused, stacked);
    assert_eq!(fused, ["tok-a", "tok-b", "tok-a", "tok-b"]);
}

#[tokio::test(start_paused = true)]
async fn outer_rotation_skips_accounts_that_the_inner_one_tried() {
    let pool = pool(&["a", "b"], &Recorder::new());
    let upstream = Upstream::default()
        .token_forever("tok-a", Step::status(429))
        .token_forever("tok-b", Step::status(403));
    let below = FailoverLayer::builder().rotation(pool.clone()).rotate_forbidden(true);
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool).rotate_forbidden(true))
        .layer(below.build().unwrap())
        .service(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 403);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-b"]);
}

/// Returns a source that returns this token after a second.
fn slow(token: &'static str) -> impl tower_failover::credential::TokenSource {
    move |_: RefreshReason| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, SourceError>(Token::new(token))
    }
}

fn pool_of(account: tower_failover::Account) -> tower_failover::Pool {
    tower_failover::Pool::builder().account(account).any_origin().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn gate_stops_an_expired_token() {
    let account = super::support::stack::account("a").source(slow("tok-next"));
    let pool = pool_of(account.expires(Expires::In(Duration::from_millis(300))));
    let upstream = Upstream::script([Step::status(503).after(Duration::from_secs(1))]);
    let service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(tower::retry::RetryLayer::new(RetryEverything::times(1)))
        .layer(AuthShortCircuitLayer::with_pool(pool))
        .service(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.tokens().iter().filter(|token| *token == "tok-a").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rejection_is_answered_401_while_its_source_is_called() {
    for attempts in [1, 2] {
        let pool = pool_of(super::support::stack::account("a").source(slow("tok-next")));
        let layer =
            FailoverLayer::builder().rotation(pool).attempts(limit(attempts)).build().unwrap();
        let upstream = Upstream::statuses(&[401]);
        let answer = layer.layer(upstream).oneshot(get()).await.unwrap();
        assert_eq!(answer.status(), if attempts == 1 { 401 } else { 200 });
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_replaced_by_a_503_keeps_its_model_in_the_trail() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let down = |_: RefreshReason| async { Err::<Token, _>(SourceError::transient("down")) };
        let pool = pool_of(super::support::stack::account("a").source(down));
        let chain = ModelChain::list(["m1"]).unwrap();
        let upstream = Upstream::statuses(&[401]);
        let status = if fused {
            let builder = FailoverLayer::builder().rotation(pool).models(chain);
            let layer = builder.reporter(recorder.clone()).build().unwrap();
            layer.layer(upstream).oneshot(super::support::post()).await.unwrap().status()
        } else {
            let layers = ServiceBuilder::new()
                .layer(ErrorDedupLayer::new(recorder.clone()))
                .layer(ModelFallbackLayer::new(chain))
                .layer(RetryLayer::new(quick()))
                .layer(TokenRotationLayer::new(pool));
            layers.service(upstream).oneshot(super::support::post()).await.unwrap().status()
        };
        assert_eq!(status, 503);
        assert!(recorder.failures()[0].trail[0].model.is_some(), "fused: {fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_not_sent_again_after_a_later_expiry() {
    // Before the expiry, the source returns the same token with a longer lifetime, while a request
    // with it is rejected.
    let same =
        |_: RefreshReason| async { Ok(Token::new("tok-a").expires_in(Duration::from_secs(7200))) };
    let account = super::support::stack::account("a").source(same);
    let pool = pool_of(account.expires(Expires::In(Duration::from_secs(3600))));
    let upstream = Upstream::default()
        .token("tok-a", [Step::status(401).after(Duration::from_secs(10)), Step::status(200)]);
    let layer = TokenRotationLayer::new(pool.clone());
    let service = layer.layer(upstream.clone());
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 401);
    assert_eq!(upstream.tokens(), ["tok-a"]);
}

#[tokio::test(start_paused = true)]
async fn token_waiter_is_not_woken_by_its_own_check_of_a_probe() {
    // One account is due for a probe, but not with this model; the source of the other never
    // answers.
    let never = |_: RefreshReason| std::future::pending::<Result<Token, SourceError>>();
    let pool = tower_failover::Pool::builder()
        .account(super::support::stack::account("a"))
        .account(tower_failover::Account::from_source("b", never))
        .any_origin()
        .build()
        .unwrap();
    assert!(pool.invalidate("a", tower_failover::Reason::Invalid));
    assert!(pool.cool_down("a", Some("m1"), Duration::from_secs(7200)));
    tokio::time::sleep(Duration::from_secs(301)).await;
    let service = TokenRotationLayer::new(pool).layer(Upstream::default());
    let mut request = get();
    request.extensions_mut().insert(RequestOptions::new().model("m1"));
    // `DropAfter` limits the number of polls.
    let answer = super::runner::DropAfter::new(service.oneshot(request), None).await;
    assert_eq!(answer.unwrap().unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn token_waiter_is_not_woken_every_millisecond() {
    let pool = pool_of(super::support::stack::account("a").source(slow("tok-next")));
    let service = TokenRotationLayer::new(pool).layer(Upstream::statuses(&[401]));
    let mut polls = 0;
    let mut request = std::pin::pin!(service.oneshot(get()));
    let answer = std::future::poll_fn(|cx| {
        polls += 1;
        request.as_mut().poll(cx)
    });
    assert_eq!(answer.await.unwrap().status(), 200);
    assert!(polls < 20, "{polls}");
}

#[tokio::test(start_paused = true)]
async fn rejected_probe_is_reported_once_whatever_its_source_returns() {
    let recorder = Recorder::new();
    let same = |_: RefreshReason| async { Ok::<_, SourceError>(Token::new("tok-a")) };
    let pool = tower_failover::Pool::builder()
        .account(super::support::stack::account("a").source(same))
        .any_origin()
        .reporter(recorder.clone())
        .build()
        .unwrap();
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let service = TokenRotationLayer::new(pool).layer(upstream.clone());
    for sent in 1..4 {
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
        assert_eq!((upstream.calls(), recorder.codes()), (sent, vec!["pool_dead"]));
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    }
}
