//! Tokens that load late, expire, and are replaced, from the view of a request.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use support::{
    Recorder, Step, Upstream,
    boxed::{Boxed, boxed},
    get, limit, post,
    script::{Answer, Script},
};
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, Layer, ServiceExt};
use tower_failover::{
    Account, AuthShortCircuitLayer, Code, Credential, ErrorDedupLayer, Event, FailoverLayer, Pool,
    Reason, RequestOptions, RetryLayer, RetryPolicy, TokenRotationLayer,
    classify::Origin,
    credential::{Expires, FixedToken, RefreshReason, RefreshWindows, SourceError, Token},
    failure,
    pool::{PoolBuilder, State},
    report::{Followed, OutReason},
};

#[allow(clippy::unnecessary_wraps, reason = "the item type of a list of answers")]
fn give(token: &str) -> Answer {
    Ok(Token::new(token))
}

fn down() -> Answer {
    Err(SourceError::transient("the token endpoint is down"))
}

/// Builds the whole stack, fused or stacked.
fn stack(fused: bool, pool: &Pool, recorder: &Recorder, upstream: &Upstream) -> Boxed {
    let retry = RetryPolicy::new().retries(3);
    if fused {
        let builder = FailoverLayer::builder().rotation(pool.clone()).retry(retry);
        return boxed(builder.reporter(recorder.clone()).build().unwrap().layer(upstream.clone()));
    }
    let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(upstream.clone());
    let rotation = boxed(TokenRotationLayer::new(pool.clone()).layer(boxed(gate)));
    let retry = boxed(RetryLayer::new(retry).layer(rotation));
    boxed(ErrorDedupLayer::new(recorder.clone()).layer(retry))
}

struct World {
    pool: Pool,
    recorder: Recorder,
    upstream: Upstream,
    script: Script,
    service: Boxed,
}

/// One account, `a`, with a source, in a stack over an upstream that rejects `dead` tokens.
fn world(fused: bool, account: Account, script: Script, others: &[&str]) -> World {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let others = others
        .iter()
        .map(|id| Account::new(*id, Credential::bearer(format!("tok-{id}")).unwrap()).priority(-1));
    let builder = Pool::builder().account(account).accounts(others);
    let pool = any(builder, &recorder);
    let service = stack(fused, &pool, &recorder, &upstream);
    World { pool, recorder, upstream, script, service }
}

fn any(builder: PoolBuilder, recorder: &Recorder) -> Pool {
    builder.any_origin().reporter(recorder.clone()).build().unwrap()
}

/// An account whose token is rejected, and then comes from this script.
fn rejected(fused: bool, answers: impl IntoIterator<Item = Answer>, others: &[&str]) -> World {
    let script = Script::each(answers);
    let account = Account::new("a", Credential::bearer("dead").unwrap()).source(script.clone());
    world(fused, account, script, others)
}

/// An account that has no token yet.
fn unloaded(fused: bool, answers: impl IntoIterator<Item = Answer>, others: &[&str]) -> World {
    let script = Script::each(answers);
    let account = Account::from_source("a", script.clone());
    world(fused, account, script, others)
}

impl World {
    async fn send(&self) -> Response<support::boxed::Any> {
        self.service.clone().oneshot(post()).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_token_and_share_one_call() {
    for fused in [true, false] {
        let world = unloaded(fused, [give("t1")], &[]);
        let all = futures_util::future::join_all((0..20).map(|_| world.send())).await;
        assert!(all.iter().all(|answer| answer.status() == 200), "{fused}");
        assert_eq!((world.script.calls(), world.upstream.calls()), (1, 20));
        assert!(world.upstream.tokens().iter().all(|token| token == "t1"));
        assert!(world.recorder.codes().is_empty(), "{:?}", world.recorder.codes());
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_cannot_wait_longer_gets_not_ready() {
    for fused in [true, false] {
        let hang = |_: RefreshReason| async {
            std::future::pending::<()>().await;
            give("never")
        };
        let recorder = Recorder::new();
        let account = Account::from_source("a", hang);
        let builder = Pool::builder().account(account).ready_within(Duration::from_secs(3));
        let pool = any(builder, &recorder);
        let upstream = Upstream::default();
        let service = stack(fused, &pool, &recorder, &upstream);
        let start = Instant::now();
        let answer = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{fused}");
        let cause = *failure(&answer).unwrap();
        assert_eq!((cause.code, cause.origin), (Code::NotReady, Origin::Local));
        assert_eq!((start.elapsed().as_secs(), upstream.calls()), (3, 0));
        // The deadline of the request is earlier.
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().deadline(Duration::from_secs(1)));
        let start = Instant::now();
        assert_eq!(service.oneshot(request).await.unwrap().status(), 503);
        assert_eq!(start.elapsed().as_secs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn ready_account_does_not_wait_for_an_unready_one() {
    let world = unloaded(true, [give("t1")], &["b"]);
    let start = Instant::now();
    assert_eq!(world.send().await.status(), 200);
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.send().await.status(), 200);
    assert_eq!(world.upstream.tokens(), ["tok-b", "t1"]);
}

/// The answer is given up for a retry, which waits for the next token if it has not arrived.
#[tokio::test(start_paused = true)]
async fn request_that_fails_while_its_token_is_replaced_is_retried() {
    let seconds = Duration::from_secs;
    for fused in [true, false] {
        let long = |text: &str| Ok(Token::new(text).expires_in(seconds(100)));
        let script = Script::each([long("t1"), long("t2")]);
        let windows = RefreshWindows::fixed(seconds(10), seconds(10));
        let account = Account::from_source("a", script.clone()).refresh_windows(windows);
        let world = world(fused, account, script, &[]);
        world.pool.wait_ready().await.unwrap();
        sleep(seconds(89)).await;
        // It is sent with the old token; before it fails, another request starts the refresh.
        world.upstream.push([Step::status(503).after(Duration::from_millis(1500))]);
        let other = async {
            sleep(seconds(1)).await;
            world.send().await.status()
        };
        let (failed, other) = tokio::join!(world.send(), other);
        assert_eq!((failed.status().as_u16(), other.as_u16()), (200, 200), "{fused}");
        assert_eq!(world.upstream.tokens(), ["t1", "t2", "t2"], "{fused}");
        assert_eq!(world.script.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn refresh_serves_twelve_rejected_requests_without_a_report() {
    for fused in [true, false] {
        let world = rejected(fused, [give("t1")], &["b"]);
        // All requests are in flight before the first is rejected.
        world.upstream.set_token("dead", Step::status(401).after(Duration::from_secs(1)));
        let all = futures_util::future::join_all((0..12).map(|_| world.send())).await;
        assert!(all.iter().all(|answer| answer.status() == 200), "{fused}");
        let sent = world.upstream.tokens();
        let count = |token: &str| sent.iter().filter(|sent| *sent == token).count();
        assert_eq!((count("dead"), count("t1"), count("tok-b")), (12, 12, 0), "{fused}");
        assert_eq!(world.script.reasons(), [RefreshReason::Rejected(Reason::Invalid)]);
        assert!(world.recorder.codes().is_empty(), "{:?}", world.recorder.codes());
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_token_is_used_without_a_call_to_the_source() {
    for fused in [true, false] {
        let slow = Step::status(401).after(Duration::from_secs(5));
        let world = rejected(fused, [], &["b"]);
        world.upstream.set_token("dead", slow);
        let (answer, ()) = tokio::join!(world.send(), async {
            sleep(Duration::from_secs(1)).await;
            world.pool.replace("a", Credential::bearer("t1").unwrap()).unwrap();
        });
        assert_eq!((answer.status().as_u16(), world.script.calls()), (200, 0));
        assert_eq!(world.upstream.tokens(), ["dead", "t1"], "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn unchanged_token_after_a_rejection_takes_the_account_out() {
    for fused in [true, false] {
        let world = rejected(fused, [give("dead")], &["b"]);
        assert_eq!(world.send().await.status(), 200);
        assert_eq!(world.upstream.tokens(), ["dead", "tok-b"], "{fused}");
        assert_eq!(world.recorder.codes(), ["account_out"]);
    }
}

#[tokio::test(start_paused = true)]
async fn second_rejection_takes_the_account_out() {
    for fused in [true, false] {
        let world = rejected(fused, [give("dead-too"), give("t3")], &["b"]);
        world.upstream.set_token("dead-too", Step::status(401));
        assert_eq!(world.send().await.status(), 200);
        assert_eq!(world.upstream.tokens(), ["dead", "dead-too", "tok-b"], "{fused}");
        assert_eq!((world.script.calls(), world.recorder.codes()), (1, vec!["account_out"]));
    }
}

#[tokio::test(start_paused = true)]
async fn trail_distinguishes_a_new_token_from_another_account() {
    for fused in [true, false] {
        let world = rejected(fused, [give("dead-too"), give("t3")], &["b"]);
        world.upstream.set_token("dead-too", Step::status(401));
        world.upstream.set_token("tok-b", Step::status(404));
        assert_eq!(world.send().await.status(), 404);
        let trail = world.recorder.failures().remove(0).trail;
        let steps: Vec<_> =
            trail.iter().map(|one| (one.account.as_deref(), one.followed)).collect();
        let [first, second, last] = steps[..] else { panic!("{steps:?}") };
        assert_eq!(first, (Some("a"), Followed::Replayed), "{fused}");
        assert_eq!(second, (Some("a"), Followed::Rotated), "{fused}");
        assert_eq!(last.0, Some("b"), "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn source_that_is_down_neither_retires_the_account_nor_becomes_a_401() {
    for fused in [true, false] {
        let world = rejected(fused, [down(), give("t1")], &[]);
        let answer = world.send().await;
        assert_eq!(answer.status(), 503, "{fused}");
        let cause = *failure(&answer).unwrap();
        assert_eq!((cause.code, cause.origin), (Code::NotReady, Origin::Local));
        assert!(cause.retry_after.is_some() && answer.headers().contains_key("retry-after"));
        assert_eq!(world.pool.view().accounts[0].state, State::Refreshing);
        // The remembered failure is used without a call.
        assert_eq!(world.send().await.status(), 503);
        assert_eq!((world.script.calls(), world.upstream.calls()), (1, 1));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(world.send().await.status(), 200);
        assert_eq!(world.upstream.tokens(), ["dead", "t1"]);
        let failed: Vec<_> = world.recorder.failures().iter().map(|r| r.trail.len()).collect();
        assert_eq!(failed, [1, 0], "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_account_serves_while_the_source_is_down() {
    for fused in [true, false] {
        let world = rejected(fused, [down()], &["b"]);
        assert_eq!(world.send().await.status(), 200);
        assert_eq!(world.upstream.tokens(), ["dead", "tok-b"], "{fused}");
        assert_eq!(world.recorder.codes(), ["refresh_failed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn terminated_login_returns_the_answer_of_the_upstream() {
    for fused in [true, false] {
        let over = Err(SourceError::terminal(Reason::Revoked, "invalid_grant"));
        let world = rejected(fused, [over], &[]);
        let answer = world.send().await;
        assert_eq!(answer.status(), 401, "{fused}");
        assert_eq!(failure(&answer).unwrap().origin, Origin::Upstream);
        assert_eq!(world.pool.view().accounts[0].state, State::Retired);
        let codes = world.recorder.codes();
        assert_eq!(codes, ["pool_dead", "request_failed"], "{fused}");
        let incidents = world.recorder.incidents();
        let [Event::PoolDead(dead)] = &incidents[..] else { panic!("{incidents:?}") };
        assert_eq!(dead.cause.reason, OutReason::RefreshFailed(Reason::Revoked));
        assert!(dead.cause.error.as_deref().unwrap().contains("invalid_grant"), "{dead:?}");
        // Nothing is sent from then on.
        let answer = world.send().await;
        assert_eq!(failure(&answer).unwrap().code, Code::CredentialRevoked);
        assert_eq!((world.upstream.calls(), world.script.calls()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn request_dropped_while_it_waits_is_abandoned_and_the_refresh_continues() {
    for fused in [true, false] {
        let world = rejected(fused, [give("t1")], &[]);
        let dropped = timeout(Duration::from_millis(500), world.send()).await;
        assert!(dropped.is_err());
        assert_eq!(world.recorder.codes(), ["request_abandoned"], "{fused}");
        assert_eq!(world.recorder.abandoned()[0].trail.len(), 1);
        assert_eq!(world.send().await.status(), 200);
        assert_eq!(
            (world.upstream.tokens(), world.script.calls()),
            (vec!["dead".to_owned(), "t1".to_owned()], 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn fixed_token_is_not_refreshed() {
    let recorder = Recorder::new();
    let account = Account::from_source("a", FixedToken::new("dead"));
    let pool = any(Pool::builder().account(account), &recorder);
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let service = stack(true, &pool, &recorder, &upstream);
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 401);
    assert_eq!((upstream.calls(), recorder.codes()[0]), (1, "pool_dead"));
}

#[tokio::test(start_paused = true)]
async fn replay_sends_the_whole_body_again() {
    let world = rejected(true, [give("t1")], &[]);
    world.upstream.set_token("t1", Step::status(200));
    let body = support::stack::Body::from("hello");
    let request = http::Request::post("https://api.example.com/videos").body(body).unwrap();
    let answer = world.service.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.into_body().collect().await.map_err(|_: BoxError| ()).unwrap();
    let bodies: Vec<_> = world.upstream.sent().into_iter().map(|sent| sent.body).collect();
    assert_eq!(bodies, ["hello", "hello"]);
}

#[tokio::test(start_paused = true)]
async fn answer_contains_the_known_expiry_and_whether_a_refresh_is_required() {
    let recorder = Recorder::new();
    let account = Account::new("a", Credential::bearer("tok-a").unwrap())
        .expires(Expires::In(Duration::from_secs(60)));
    let pool = any(Pool::builder().account(account), &recorder);
    let upstream = Upstream::default();
    let service = stack(true, &pool, &recorder, &upstream);
    sleep(Duration::from_secs(100)).await;
    let answer = service.oneshot(get()).await.unwrap();
    let cause = *failure(&answer).unwrap();
    assert_eq!((cause.code, cause.requires_refresh), (Code::CredentialExpired, true));
    assert!(cause.expired_at.is_some() && upstream.calls() == 0);
    let body = answer.into_body().collect().await.map_err(|_: BoxError| ()).unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert!(problem["expired_at"].as_str().unwrap().ends_with('Z'), "{problem}");
    assert!(problem["expired_seconds_ago"].is_u64());

    // Rejected twice: another token of the same source may help after its next call.
    let world = rejected(true, [give("dead-too")], &[]);
    world.upstream.set_token("dead-too", Step::status(401));
    assert_eq!(world.send().await.status(), 401);
    let answer = world.send().await;
    let cause = *failure(&answer).unwrap();
    assert_eq!((cause.code, cause.origin), (Code::CredentialInvalid, Origin::Local));
    assert!(cause.requires_refresh);
    let body = answer.into_body().collect().await.map_err(|_: BoxError| ()).unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["requires_refresh"], true);
}

#[tokio::test(start_paused = true)]
async fn request_without_attempts_or_rejections_left_does_not_wait_for_a_token() {
    for fused in [true, false] {
        // All attempts are used up.
        let world = rejected(fused, [give("t1")], &[]);
        let mut request = post();
        request.extensions_mut().insert(RequestOptions::new().attempts(limit(1)));
        let start = Instant::now();
        let answer = world.service.clone().oneshot(request).await.unwrap();
        assert!(failure(&answer).is_some());
        assert_eq!((world.upstream.calls(), start.elapsed()), (1, Duration::ZERO), "{fused}");
        // Or all rejections.
        let world = rejected(fused, [give("t1")], &[]);
        let service = if fused {
            let layer =
                FailoverLayer::builder().rotation(world.pool.clone()).max_refusals(limit(1));
            boxed(layer.build().unwrap().layer(world.upstream.clone()))
        } else {
            let layer = TokenRotationLayer::new(world.pool.clone()).max_refusals(limit(1));
            boxed(layer.layer(world.upstream.clone()))
        };
        let start = Instant::now();
        let answer = service.clone().oneshot(post()).await.unwrap();
        assert_eq!((answer.status().as_u16(), start.elapsed()), (401, Duration::ZERO), "{fused}");
        // The next request is not affected.
        assert_eq!(service.oneshot(post()).await.unwrap().status(), 200);
        assert_eq!(world.upstream.tokens(), ["dead", "t1"], "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_account_serves_with_its_next_token_although_others_could() {
    for fused in [true, false] {
        let script = Script::each([give("t1")]);
        let a = Account::new("a", Credential::bearer("dead").unwrap()).source(script);
        let recorder = Recorder::new();
        let pool = any(Pool::builder().account(a).account(support::stack::account("b")), &recorder);
        let upstream = Upstream::default().token("dead", [Step::status(401)]);
        let service = stack(fused, &pool, &recorder, &upstream);
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
        assert_eq!(upstream.tokens(), ["dead", "t1"], "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_does_not_wait_for_the_third_token_of_an_account() {
    for fused in [true, false] {
        let world = rejected(fused, [give("t2"), give("t3")], &[]);
        let slow = Step::status(401).after(Duration::from_secs(5));
        let _ = world.upstream.clone().token("t2", [slow]);
        let start = Instant::now();
        let (answer, ()) = tokio::join!(world.send(), async {
            sleep(Duration::from_secs(2)).await;
            assert_eq!(world.send().await.status(), 200);
            sleep(Duration::from_millis(3_500)).await;
            // Another request was rejected before: the source is being called when the rejection arrives.
            assert!(world.pool.invalidate("a", Reason::Invalid));
        });
        assert!(failure(&answer).is_some());
        assert_eq!(start.elapsed(), Duration::from_secs(6), "{fused}");
        assert_eq!(world.upstream.tokens(), ["dead", "t2", "t2"], "{fused}");
        assert_eq!(world.script.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn request_does_not_wait_for_a_token_after_a_limit() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let script = Script::each([give("t1")]);
        let builder = Pool::builder().account(support::stack::account("a"));
        let pool = any(builder.account(Account::from_source("b", script.clone())), &recorder);
        let limited = Step::answer(429, &[("retry-after", "30")], "");
        let upstream = Upstream::default().token("tok-a", [limited]);
        let service = stack(fused, &pool, &recorder, &upstream);
        let mut pinned = get();
        pinned.extensions_mut().insert(RequestOptions::new().pin("b"));
        // The source is called, and takes time.
        assert!(
            timeout(Duration::from_millis(500), service.clone().oneshot(pinned)).await.is_err()
        );
        assert_eq!(script.calls(), 1);
        let start = Instant::now();
        let answer = service.clone().oneshot(get()).await.unwrap();
        assert_eq!((answer.status().as_u16(), start.elapsed()), (429, Duration::ZERO), "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_without_a_kept_body_does_not_wait_for_a_new_account() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let pool = any(Pool::builder().account(support::stack::account("a")), &recorder);
        let slow = Step::status(401).after(Duration::from_secs(2));
        let upstream = Upstream::default().token("tok-a", [slow]);
        let service = stack(fused, &pool, &recorder, &upstream);
        let start = Instant::now();
        let first = async {
            let answer = service.clone().oneshot(get()).await.unwrap();
            (answer, start.elapsed())
        };
        let ((answer, elapsed), ()) = tokio::join!(first, async {
            sleep(Duration::from_millis(1_500)).await;
            pool.insert(Account::from_source("b", Script::each([give("t1")]))).unwrap();
            let mut pinned = get();
            pinned.extensions_mut().insert(RequestOptions::new().pin("b"));
            assert_eq!(service.clone().oneshot(pinned).await.unwrap().status(), 200);
        });
        assert!(failure(&answer).is_some());
        assert_eq!(elapsed, Duration::from_secs(2), "{fused}");
        assert_eq!(upstream.tokens(), ["tok-a", "t1"], "{fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn account_whose_next_token_is_late_serves_with_the_current_one() {
    for fused in [true, false] {
        let calls = AtomicUsize::new(0);
        let source = move |_: RefreshReason| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !first {
                    std::future::pending::<()>().await;
                }
                Ok(Token::new("tok-b").expires_in(Duration::from_secs(100)))
            }
        };
        // From the 60th second on, requests wait for the next token.
        let windows = RefreshWindows::fixed(Duration::from_secs(40), Duration::from_secs(40));
        let builder = Pool::builder()
            .account(Account::new("a", Credential::bearer("dead").unwrap()).priority(1))
            .account(Account::from_source("b", source).refresh_windows(windows))
            .ready_within(Duration::from_secs(3));
        let recorder = Recorder::new();
        let pool = any(builder, &recorder);
        let upstream = Upstream::default().token_forever("dead", Step::status(401));
        let service = stack(fused, &pool, &recorder, &upstream);
        // The first token comes at once.
        let mut pinned = get();
        pinned.extensions_mut().insert(RequestOptions::new().pin("b"));
        assert_eq!(service.clone().oneshot(pinned).await.unwrap().status(), 200);
        sleep(Duration::from_secs(70)).await;
        let start = Instant::now();
        let answer = service.oneshot(get()).await.unwrap();
        assert_eq!((answer.status().as_u16(), start.elapsed().as_secs()), (200, 3), "{fused}");
        assert_eq!(upstream.tokens(), ["tok-b", "dead", "tok-b"], "{fused}");
    }
}
