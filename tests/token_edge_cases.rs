//! Edge cases of tokens that expire, are rejected or are refreshed.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::{
    future::Future as _,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response};
use support::{
    Recorder, Step, Upstream,
    boxed::{Any, Boxed, boxed},
    get, post,
    script::{Script, bearer, seconds},
    stack::Body,
};
use tokio::time::{Sleep, sleep};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_failover::{
    Account, AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelChain, Pool, Reason,
    RequestOptions, RetryLayer, RetryPolicy, TokenRotationLayer,
    credential::{Expires, RefreshReason, SourceError, Token, TokenFuture, TokenSource},
    failure,
};

struct World {
    pool: Pool,
    recorder: Recorder,
    upstream: Upstream,
    service: Boxed,
}

fn world(fused: bool, accounts: impl IntoIterator<Item = Account>, upstream: Upstream) -> World {
    let recorder = Recorder::new();
    let pool =
        Pool::builder().accounts(accounts).any_origin().reporter(recorder.clone()).build().unwrap();
    let retry = RetryPolicy::new();
    let service = if fused {
        let builder = FailoverLayer::builder().rotation(pool.clone()).retry(retry);
        boxed(builder.reporter(recorder.clone()).build().unwrap().layer(upstream.clone()))
    } else {
        let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone());
        let rotation = boxed(TokenRotationLayer::new(pool.clone()).layer(boxed(gate)));
        let retry = boxed(RetryLayer::new(retry).layer(rotation));
        boxed(ErrorDedupLayer::new(recorder.clone()).layer(retry))
    };
    World { pool, recorder, upstream, service }
}

impl World {
    async fn send(&self) -> Response<Any> {
        self.service.clone().oneshot(post()).await.unwrap()
    }

    fn last_token(&self) -> String {
        self.upstream.tokens().pop().unwrap()
    }
}

fn limited(after: &str) -> Step {
    Step::answer(429, &[("retry-after", after)], "slow down")
}

// --- I8: a cooldown only grows, whatever happens to the credential

#[tokio::test(start_paused = true)]
async fn limit_outlives_the_rejection_of_its_credential() {
    let steps = [Step::status(401).after(seconds(2)), limited("3600")];
    let upstream = Upstream::default().token("dead", steps);
    let a = Account::new("a", bearer("dead")).source(Script::tokens(&["t1"]));
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], upstream);
    let (first, second) = tokio::join!(world.send(), async {
        sleep(Duration::from_millis(500)).await;
        world.send().await
    });
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    sleep(seconds(10)).await;
    assert_eq!(world.send().await.status(), 200);
    assert_eq!(world.last_token(), "tok-b", "{:?}", world.upstream.tokens());
}

#[tokio::test(start_paused = true)]
async fn cooldown_outlives_the_expiry_of_the_credential() {
    let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(100)));
    let a = a.source(Script::tokens(&["t1"]));
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], Upstream::default());
    assert!(world.pool.cool_down("a", None, seconds(3600)));
    sleep(seconds(97)).await;
    let mut pinned = post();
    pinned.extensions_mut().insert(RequestOptions::new().pin("a"));
    assert_eq!(world.service.clone().oneshot(pinned).await.unwrap().status(), 200);
    assert_eq!(world.last_token(), "t1");
    sleep(seconds(1)).await;
    world.send().await;
    assert_eq!(world.last_token(), "tok-b", "{:?}", world.upstream.tokens());
}

#[tokio::test(start_paused = true)]
async fn cooldown_set_while_a_token_is_fetched_is_kept() {
    let a = Account::from_source("a", Script::tokens(&["t1"]));
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], Upstream::default());
    world.send().await;
    assert!(world.pool.cool_down("a", None, seconds(3600)));
    sleep(seconds(2)).await;
    world.send().await;
    assert_eq!(world.last_token(), "tok-b", "{:?}", world.upstream.tokens());
}

#[tokio::test(start_paused = true)]
async fn cooldown_has_the_requested_length_after_a_failed_source() {
    let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(100)));
    let a = a.source(|_: RefreshReason| async { Err::<Token, _>(SourceError::transient("down")) });
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], Upstream::default());
    sleep(seconds(97)).await;
    // The token is so close to its expiry that requests wait for another, and there is none.
    for _ in 0..2 {
        world.send().await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.last_token(), "old", "{:?}", world.upstream.tokens());
    assert!(world.pool.cool_down("a", None, seconds(2)));
    assert_eq!(world.pool.view().accounts[0].usable_in, Some(seconds(2)));
}

#[tokio::test(start_paused = true)]
async fn longer_cooldown_continues_with_an_unchanged_token() {
    let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(100)));
    let a = a.source(|_: RefreshReason| async {
        sleep(seconds(1)).await;
        Err::<Token, _>(SourceError::transient("down"))
    });
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], Upstream::default());
    sleep(seconds(97)).await;
    world.send().await;
    assert!(world.pool.cool_down("a", None, seconds(2)));
    assert!(!world.pool.cool_down("a", None, seconds(1)));
    sleep(Duration::from_millis(1500)).await;
    world.send().await;
    assert_eq!(world.upstream.tokens(), ["tok-b", "tok-b"]);
    assert_eq!(world.pool.view().accounts[0].usable_in, Some(Duration::from_millis(500)));
    world.pool.revive("a");
    world.send().await;
    assert_eq!(world.last_token(), "old", "{:?}", world.upstream.tokens());
}

// --- I7, I11: the newest answer of the upstream

#[tokio::test(start_paused = true)]
async fn limit_is_not_hidden_by_a_missing_token_of_another_account() {
    for fused in [true, false] {
        let upstream = Upstream::default().token_forever("tok-a", limited("3600"));
        let a = Account::new("a", bearer("tok-a"));
        let b = Account::from_source("b", Script::default()).priority(-1);
        let world = world(fused, [a, b], upstream);
        let answer = world.send().await;
        let cause = failure(&answer).map(|cause| cause.code);
        assert_eq!((answer.status().as_u16(), cause), (429, None), "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn limit_while_a_token_is_fetched_is_the_same_fused_and_stacked() {
    let mut seen = Vec::new();
    for fused in [true, false] {
        let upstream = Upstream::default().token("tok-a", [limited("1")]);
        let a = Account::new("a", bearer("tok-a"));
        let b = Account::from_source("b", Script::default()).priority(-1);
        let world = world(fused, [a, b], upstream);
        let answer = world.send().await;
        seen.push((answer.status().as_u16(), world.upstream.tokens()));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn rejected_request_waits_for_the_first_token_of_another_account() {
    for fused in [true, false] {
        let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
        let a = Account::new("a", bearer("tok-a"));
        let b = Account::from_source("b", Script::tokens(&["t1"])).priority(-1);
        let world = world(fused, [a, b], upstream);
        assert_eq!(world.send().await.status(), 200, "{fused}");
    }
}

// --- sources

#[tokio::test(start_paused = true)]
async fn source_with_a_refresh_hint_of_ten_seconds_is_called_at_that_rate() {
    let calls = Arc::new(AtomicUsize::new(0));
    let source = {
        let calls = calls.clone();
        move |_: RefreshReason| {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Ok(Token::new("t0").refresh_in(seconds(10))))
        }
    };
    let world = world(true, [Account::from_source("a", source)], Upstream::default());
    for _ in 0..600 {
        assert_eq!(world.send().await.status(), 200);
        sleep(seconds(1)).await;
    }
    let calls = calls.load(Ordering::SeqCst);
    assert!((50..=70).contains(&calls), "called {calls} times in 600 s");
}

#[tokio::test(start_paused = true)]
async fn file_with_a_new_token_is_read_after_a_rejection() {
    let mode = Arc::new(Mutex::new("t0"));
    let source = {
        let mode = mode.clone();
        move |_: RefreshReason| {
            let token = *mode.lock().unwrap();
            std::future::ready(Ok(Token::new(token).refresh_in(seconds(10))))
        }
    };
    let world = world(true, [Account::from_source("a", source)], Upstream::default());
    for _ in 0..605 {
        assert_eq!(world.send().await.status(), 200);
        sleep(seconds(1)).await;
    }
    *mode.lock().unwrap() = "t1";
    world.upstream.set_token("t0", Step::status(401));
    assert_eq!(world.send().await.status(), 200, "{:?}", world.recorder.codes());
}

#[tokio::test(start_paused = true)]
async fn source_that_fails_after_an_unchanged_token_is_reported() {
    let mode = Arc::new(Mutex::new(Ok("t0")));
    let source = {
        let mode = mode.clone();
        move |_: RefreshReason| {
            let answer = *mode.lock().unwrap();
            std::future::ready(match answer {
                Ok(token) => Ok(Token::new(token).refresh_in(seconds(10))),
                Err(what) => Err(SourceError::transient(what)),
            })
        }
    };
    let world = world(true, [Account::from_source("a", source)], Upstream::default());
    for i in 0..200 {
        if i == 60 {
            *mode.lock().unwrap() = Err("gone");
        }
        assert_eq!(world.send().await.status(), 200);
        sleep(seconds(1)).await;
    }
    assert_eq!(world.recorder.codes(), ["refresh_failed"]);
}

#[tokio::test]
async fn source_of_expired_tokens_is_not_called_in_a_loop() {
    let calls = Arc::new(AtomicUsize::new(0));
    let source = {
        let calls = calls.clone();
        move |_: RefreshReason| {
            let n = calls.fetch_add(1, Ordering::SeqCst);
            let token = Token::new(format!("t{n}"));
            // A limit, in case the loop does not end.
            let token = if n < 2000 { token.expires_in(Duration::from_micros(1)) } else { token };
            std::future::ready(Ok(token))
        }
    };
    let world = world(true, [Account::from_source("a", source)], Upstream::default());
    let _ = world.send().await;
    let calls = calls.load(Ordering::SeqCst);
    assert!(calls < 20, "called {calls} times for one request");
}

#[tokio::test(start_paused = true)]
async fn quarantine_that_outlives_its_token_is_reported_once() {
    let source = |_: RefreshReason| async { Ok(Token::new("tok-a")) };
    let a = Account::new("a", bearer("tok-a")).expires(Expires::In(seconds(1800))).source(source);
    let world = world(true, [a], Upstream::default());
    assert!(world.pool.invalidate("a", Reason::Revoked));
    assert_eq!(world.recorder.codes(), ["pool_dead"]);
    sleep(seconds(3601)).await;
    let answer = world.send().await;
    assert_eq!((answer.status().as_u16(), world.upstream.calls()), (401, 0));
    let dead = world.recorder.codes().into_iter().filter(|code| *code == "pool_dead").count();
    assert_eq!(dead, 1, "{:?}", world.recorder.codes());
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_recovered_account_is_reported_again() {
    let source = |_: RefreshReason| async { Ok(Token::new("tok-a")) };
    let a = Account::new("a", bearer("tok-a")).expires(Expires::In(seconds(1800))).source(source);
    let world = world(true, [a], Upstream::default());
    assert!(world.pool.invalidate("a", Reason::Revoked));
    sleep(seconds(3601)).await;
    world.send().await;
    assert!(world.pool.revive("a"));
    assert_eq!(world.send().await.status(), 200);
    assert!(world.pool.invalidate("a", Reason::Revoked));
    let codes = world.recorder.codes();
    let dead = codes.iter().filter(|code| **code == "pool_dead").count();
    assert_eq!(dead, 2, "{codes:?}");
}

#[tokio::test(start_paused = true)]
async fn revived_account_is_refreshed_before_its_token_expires() {
    let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(100)));
    let a = a.source(Script::tokens(&["t1"]));
    let upstream = Upstream::default();
    let world = world(true, [a], upstream);
    world.pool.cool_down("a", None, seconds(10));
    world.pool.revive("a");
    sleep(seconds(200)).await;
    world.send().await;
    assert_eq!(world.upstream.tokens(), ["t1"]);
}

#[tokio::test(start_paused = true)]
async fn account_is_replayed_once_for_one_request() {
    let g2 = [Step::status(401).after(seconds(5)), Step::status(200)];
    let upstream = Upstream::default()
        .token_forever("dead", Step::status(401))
        .token("g2", g2)
        .token_forever("tok-b", limited("60").after(seconds(3)));
    let a = Account::new("a", bearer("dead")).source(Script::tokens(&["g2", "g3"]));
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], upstream);
    let (first, second) = tokio::join!(world.send(), async {
        sleep(seconds(2)).await;
        world.send().await
    });
    assert_eq!(second.status(), 200);
    let sent = world.upstream.tokens();
    assert!(!sent.contains(&"g3".to_owned()), "{} {sent:?}", first.status());
}

// --- the model of a fallback

#[tokio::test(start_paused = true)]
async fn fallback_that_waits_for_a_token_goes_to_an_account_of_its_model() {
    let slow = Step::answer(503, &[("retry-after", "2")], "");
    let upstream = Upstream::default().model("m1", [Step::status(529)]).token("tok-b", [slow]);
    let recorder = Recorder::new();
    let a = Account::new("a", bearer("tok-a")).models(["m1"]);
    let b = Account::new("b", bearer("tok-b")).models(["m2"]).source(Script::tokens(&["t1"]));
    let pool = Pool::builder().accounts([a, b]).any_origin().reporter(recorder.clone());
    let pool = pool.build().unwrap();
    let builder = FailoverLayer::builder()
        .rotation(pool.clone())
        .retry(RetryPolicy::new())
        .models(ModelChain::list(["m1", "m2"]).unwrap());
    let service = boxed(builder.reporter(recorder).build().unwrap().layer(upstream.clone()));
    let (answer, ()) = tokio::join!(service.oneshot(post()), async {
        sleep(Duration::from_millis(1500)).await;
        assert!(pool.invalidate("b", Reason::Expired));
    });
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-b", "t1"]);
}

// --- expiry while the service below is not ready

#[derive(Debug)]
struct SlowClones {
    inner: Upstream,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Clone for SlowClones {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), wait: Some(Box::pin(sleep(seconds(10)))) }
    }
}

impl Service<Request<Body>> for SlowClones {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = <Upstream as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if let Some(wait) = &mut self.wait {
            std::task::ready!(wait.as_mut().poll(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn token_that_expires_while_a_service_gets_ready_is_not_sent() {
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let a = Account::new("a", bearer("tok-a"));
    let b = Account::new("b", bearer("tok-b")).expires(Expires::In(seconds(5))).priority(-1);
    let b = b.source(Script::tokens(&["t1"]));
    let pool = Pool::builder().accounts([a, b]).any_origin().build().unwrap();
    let inner = SlowClones { inner: upstream.clone(), wait: None };
    let service = TokenRotationLayer::new(pool).layer(inner);
    let answer = service.oneshot(post()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.tokens(), ["tok-a", "t1"]);
}

// --- I10

#[tokio::test(start_paused = true)]
async fn future_dropped_at_any_poll_leaves_the_state_unchanged() {
    for fused in [true, false] {
        for polls in 0..12 {
            let upstream = Upstream::default().token_forever("dead", Step::status(401));
            let script = Script::tokens(&["t1"]);
            let a = Account::new("a", bearer("dead")).source(script.clone());
            let world = world(fused, [a], upstream);
            let mut future = Box::pin(world.service.clone().oneshot(post()));
            for _ in 0..polls {
                if future.as_mut().now_or_never().is_some() {
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
            drop(future);
            sleep(seconds(3)).await;
            assert_eq!(world.send().await.status(), 200, "{fused} {polls}");
            assert_eq!(script.calls(), 1, "{fused} {polls}");
            assert_eq!(world.pool.view().accounts[0].in_flight, 0, "{fused} {polls}");
            let sent = world.upstream.tokens();
            assert_eq!(sent.iter().filter(|token| *token == "dead").count(), 1, "{sent:?}");
        }
    }
}

// --- stacks

#[tokio::test(start_paused = true)]
async fn rotations_over_one_pool_refresh_once() {
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let script = Script::tokens(&["t1"]);
    let a = Account::new("a", bearer("dead")).source(script.clone());
    let recorder = Recorder::new();
    let pool = Pool::builder().account(a).any_origin().reporter(recorder.clone()).build().unwrap();
    let gate = boxed(AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone()));
    let inner = boxed(TokenRotationLayer::new(pool.clone()).layer(gate));
    let outer = boxed(TokenRotationLayer::new(pool.clone()).layer(inner));
    let both = tokio::join!(outer.clone().oneshot(get()), outer.clone().oneshot(get()));
    assert_eq!((both.0.unwrap().status().as_u16(), both.1.unwrap().status().as_u16()), (200, 200));
    assert_eq!(script.calls(), 1);
    assert!(recorder.codes().is_empty(), "{:?}", recorder.codes());
    assert_eq!(pool.view().accounts[0].in_flight, 0);
}

/// A policy that always retries.
#[derive(Clone)]
struct Always(usize);

impl<E> tower::retry::Policy<Request<Body>, Response<Any>, E> for Always {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<Any>, E>,
    ) -> Option<Self::Future> {
        let failed = result.as_ref().map_or(true, |answer| !answer.status().is_success());
        self.0 = self.0.checked_sub(1)?;
        failed.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_not_sent_twice_under_a_foreign_retry() {
    for fused in [true, false] {
        let upstream = Upstream::default().otherwise(Step::status(401));
        let source = Script::tokens(&["t1", "t2", "t3", "t4", "t5", "t6"]);
        let a = Account::new("a", bearer("dead")).source(source);
        let world = world(fused, [a], upstream);
        let retry = tower::retry::Retry::new(Always(8), world.service.clone());
        let answer = retry.oneshot(post()).await.unwrap();
        let mut sent = world.upstream.tokens();
        let all = sent.len();
        sent.sort_unstable();
        sent.dedup();
        assert_eq!(sent.len(), all, "{fused} {sent:?}");
        assert_eq!(answer.status(), 401);
        let out = world.recorder.incidents().len();
        assert_eq!(out, 1, "{fused} {:?}", world.recorder.codes());
    }
}

// --- a one-time refresh token

#[cfg(feature = "oauth")]
#[tokio::test(start_paused = true)]
async fn one_time_refresh_token_is_sent_once_to_a_slow_endpoint() {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use std::convert::Infallible;
    use tower_failover::credential::{OAuthHttp, OAuthRefresh};

    let used = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = used.clone();
    let endpoint = tower::service_fn(move |request: Request<Full<Bytes>>| {
        let seen = seen.clone();
        async move {
            let form = request.into_body().collect().await.unwrap().to_bytes();
            let form = String::from_utf8(form.to_vec()).unwrap();
            let first = {
                let mut seen = seen.lock().unwrap();
                let first = !seen.contains(&form);
                seen.push(form);
                first
            };
            // Slower than the deadline of the pool, once.
            sleep(seconds(11)).await;
            let (status, body) = if first {
                (200, r#"{"access_token":"t1","refresh_token":"r2","expires_in":3600}"#)
            } else {
                (400, r#"{"error":"invalid_grant"}"#)
            };
            let answer = Response::builder().status(status).body(Full::<Bytes>::from(body));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let http = OAuthHttp::new(endpoint);
    let source = OAuthRefresh::new("https://auth.example.com/token", "r1", http).unwrap();
    let world = world(true, [Account::from_source("a", source)], Upstream::default());
    for _ in 0..30 {
        world.send().await;
        sleep(seconds(2)).await;
    }
    let used = used.lock().unwrap().clone();
    let firsts = used.iter().filter(|form| form.contains("refresh_token=r1")).count();
    let answer = world.send().await.status();
    assert_eq!(firsts, 1, "{answer} {used:?} {:?}", world.recorder.codes());
}

// --- waiting

#[tokio::test(start_paused = true)]
async fn request_waiting_for_a_token_is_served_when_another_cooldown_ends() {
    let a = Account::from_source("a", Script::default());
    let b = Account::new("b", bearer("tok-b"));
    let world = world(true, [a, b], Upstream::default());
    assert!(world.pool.cool_down("b", None, seconds(1)));
    let start = tokio::time::Instant::now();
    assert_eq!(world.send().await.status(), 200);
    assert!(start.elapsed() <= seconds(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wait_ready_ends_with_the_first_cooldown() {
    let a = Account::from_source("a", Script::default());
    let b = Account::new("b", bearer("tok-b"));
    let world = world(true, [a, b], Upstream::default());
    assert!(world.pool.cool_down("b", None, seconds(1)));
    let start = tokio::time::Instant::now();
    world.pool.wait_ready().await.unwrap();
    assert!(start.elapsed() <= seconds(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn valid_token_is_sent_at_the_end_of_the_wait_for_the_next() {
    let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(1200)));
    let a = a.source(Script::default());
    let upstream = Upstream::default();
    let pool = Pool::builder().account(a).any_origin().ready_within(seconds(3)).build().unwrap();
    let service = FailoverLayer::builder().rotation(pool).build().unwrap().layer(upstream.clone());
    // The last 60 s of its validity.
    sleep(seconds(1145)).await;
    let answer = service.oneshot(post()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.tokens()), (200, vec!["old".to_owned()]));
}

/// A source that panics in `can_renew_after`.
struct Panics;

impl TokenSource for Panics {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        panic!("no token")
    }

    fn can_renew_after(&self, _: Reason) -> bool {
        panic!("nothing known")
    }
}

#[tokio::test(start_paused = true)]
async fn source_panic_fails_no_request() {
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let a = Account::new("a", bearer("dead")).source(Panics);
    let b = Account::new("b", bearer("tok-b")).priority(-1);
    let world = world(true, [a, b], upstream);
    let answer = std::panic::AssertUnwindSafe(world.send()).catch_unwind().await;
    assert_eq!(answer.map_err(|_| "the request panicked").unwrap().status(), 200);
}

// --- I9

#[tokio::test(start_paused = true)]
async fn token_in_flight_stays_redacted_while_others_are_refreshed() {
    // No token is part of another.
    let letters = |first: u8, i: usize| char::from(first + u8::try_from(i).unwrap()).to_string();
    let old = |i: usize| letters(b'A', i).repeat(20);
    let upstream = Upstream::default()
        .token_forever(&old(0), Step::play(support::upstream::Play::EchoError).after(seconds(5)));
    let accounts = (0..12).map(|i| {
        let fresh = letters(b'a', i).repeat(20);
        let source = move |_: RefreshReason| std::future::ready(Ok(Token::new(fresh.clone())));
        Account::new(format!("a{i}"), bearer(&old(i))).source(source)
    });
    let world = world(true, accounts, upstream);
    let mut pinned = post();
    pinned.extensions_mut().insert(RequestOptions::new().pin("a0"));
    let (answer, ()) = tokio::join!(world.service.clone().oneshot(pinned), async {
        sleep(seconds(1)).await;
        for i in 0..12 {
            assert!(world.pool.invalidate(&format!("a{i}"), Reason::Expired));
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(answer.is_err());
    let reported = format!("{:?}", world.recorder.events());
    assert!(!world.recorder.failures().is_empty());
    assert!(!reported.contains(&old(0)), "{reported}");
}

/// A source that inserts an account into its pool in `can_renew_after`.
#[derive(Clone, Default)]
struct InsertsAccount(Arc<std::sync::OnceLock<Pool>>);

impl TokenSource for InsertsAccount {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(std::future::pending())
    }

    fn can_renew_after(&self, _: Reason) -> bool {
        let other = Account::new("other", bearer("tok-other"));
        self.0.get().is_none_or(|pool| pool.insert(other).is_ok())
    }
}

#[tokio::test(start_paused = true)]
async fn can_renew_after_may_change_the_pool() {
    let source = InsertsAccount::default();
    let account = Account::new("a", bearer("tok-a")).source(source.clone());
    let pool = Pool::builder().account(account).any_origin().build().unwrap();
    source.0.set(pool.clone()).unwrap();
    // A task that waits for its own lock never ends: in a thread of its own, that is only a failure.
    let (sender, result) = std::sync::mpsc::channel();
    let changed = pool.clone();
    std::thread::spawn(move || sender.send(changed.invalidate("a", Reason::Invalid)));
    assert_eq!(result.recv_timeout(seconds(10)), Ok(true), "a deadlock");
    assert!(pool.contains("other"));
}
