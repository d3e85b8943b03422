//! Tokens that change while their account changes too.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use http::Response;
use support::{
    Recorder, Step, Upstream,
    boxed::{Any, Boxed, boxed},
    get, post,
    script::{Answer, Script, bearer, seconds},
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, FailoverLayer, Pool, Reason, RequestOptions, RetryPolicy,
    credential::{
        EnvToken, Expires, FileToken, RefreshReason, RefreshWindows, SourceError, Token,
        TokenFuture, TokenSource,
    },
    failure,
    pool::{PoolBuilder, State},
};

#[allow(clippy::unnecessary_wraps, reason = "the item type of a list of answers")]
fn give(token: &str) -> Answer {
    Ok(Token::new(token))
}

fn down() -> Answer {
    Err(SourceError::transient("down"))
}

fn terminated() -> Answer {
    Err(SourceError::terminal(Reason::Revoked, "invalid_grant"))
}

fn revoked() -> Step {
    Step::answer(
        401,
        &[(
            "www-authenticate",
            "Bearer error=\"invalid_token\", error_description=\"token revoked\"",
        )],
        "",
    )
}

struct World {
    pool: Pool,
    recorder: Recorder,
    upstream: Upstream,
    service: Boxed,
}

fn world(accounts: impl IntoIterator<Item = Account>, upstream: Upstream) -> World {
    world_of(Pool::builder().accounts(accounts), upstream)
}

fn world_of(builder: PoolBuilder, upstream: Upstream) -> World {
    let recorder = Recorder::new();
    let pool = builder.any_origin().reporter(recorder.clone()).build().unwrap();
    let builder = FailoverLayer::builder().rotation(pool.clone()).retry(RetryPolicy::new());
    let service =
        boxed(builder.reporter(recorder.clone()).build().unwrap().layer(upstream.clone()));
    World { pool, recorder, upstream, service }
}

impl World {
    async fn send(&self) -> Response<Any> {
        self.service.clone().oneshot(post()).await.unwrap()
    }

    fn state(&self) -> State {
        self.pool.view().accounts[0].state
    }
}

#[tokio::test(start_paused = true)]
async fn manually_retired_account_stays_out_when_its_source_answers() {
    let script = Script::new([(2, give("t1"))]);
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let world = world([Account::new("a", bearer("dead")).source(script.clone())], upstream);
    let (_, ()) = tokio::join!(world.send(), async {
        sleep(seconds(1)).await;
        assert!(world.pool.retire("a"));
    });
    sleep(seconds(5)).await;
    assert_eq!(world.state(), State::Retired);
    assert_eq!(world.send().await.status(), 401);
    assert_eq!(world.upstream.tokens(), ["dead"]);
    assert!(world.pool.revive("a"));
    assert_eq!(world.send().await.status(), 200);
    assert_eq!(world.upstream.tokens(), ["dead", "t1"]);
    assert_eq!(script.reasons().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn account_retired_while_it_waits_for_its_group_is_not_refreshed() {
    let (first, second) = (Script::new([(5, give("t1"))]), Script::new([(1, give("t2"))]));
    let a = Account::from_source("a", first).group("g");
    let b = Account::from_source("b", second.clone()).group("g");
    let world = world([a, b], Upstream::default());
    let (answer, ()) = tokio::join!(world.send(), async {
        sleep(seconds(1)).await;
        assert!(world.pool.retire("b"));
    });
    assert_eq!(answer.status(), 200);
    sleep(seconds(5)).await;
    assert!(second.reasons().is_empty());
}

#[tokio::test(start_paused = true)]
async fn token_revoked_during_its_replacement_is_probed_later() {
    for cooldown in [None, Some(seconds(7200))] {
        // Rejected during a refresh, and the source has no other.
        let upstream = Upstream::default().token("old", [revoked().after(seconds(4))]);
        let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(100_000)));
        let a = a.source(Script::new([(3, down())]));
        let a = a.refresh_windows(RefreshWindows::fixed(seconds(60), seconds(60)));
        let world = world([a], upstream);
        sleep(seconds(100_000 - 62)).await;
        let (first, ()) = tokio::join!(world.send(), async {
            sleep(seconds(3)).await;
            let (_, ()) = tokio::join!(world.send(), async {
                cooldown.map(|cooldown| world.pool.cool_down("a", None, cooldown));
            });
        });
        assert_eq!(first.status(), 401);
        let account = world.pool.view().accounts.remove(0);
        assert_eq!((account.state, account.reason), (State::Quarantined, Some(Reason::Revoked)));
        let until = account.usable_in.unwrap();
        let expected = cooldown.unwrap_or(seconds(3600));
        assert!(until <= expected && until + seconds(5) > expected, "{account:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cooldown_outlives_a_rejection_that_the_next_token_ends() {
    for limited_first in [true, false] {
        let (limited, rejected) = if limited_first { (2, 3) } else { (3, 2) };
        let limited =
            Step::answer(429, &[("retry-after", "3600")], "slow down").after(seconds(limited));
        let upstream =
            Upstream::default().token("old", [limited, revoked().after(seconds(rejected))]);
        let a = Account::new("a", bearer("old")).expires(Expires::In(seconds(1200)));
        let a = a.source(Script::new([(5, give("t1"))]));
        let world = world([a, Account::new("b", bearer("tok-b")).priority(-1)], upstream);
        // The first of them starts a call to its source, and no request waits for it.
        sleep(seconds(1000)).await;
        let both = tokio::join!(world.send(), world.send());
        assert_eq!((both.0.status().as_u16(), both.1.status().as_u16()), (200, 200));
        assert_eq!(world.state(), State::Quarantined);
        sleep(seconds(5)).await;
        assert_eq!((world.state(), world.pool.view().accounts[0].generation), (State::Cooling, 2));
        world.send().await;
        assert_eq!(world.upstream.tokens(), ["old", "old", "tok-b", "tok-b", "tok-b"]);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_source_of_a_removed_account_is_not_reported() {
    // At once, and at its deadline.
    for script in [Script::new([(2, down())]), Script::default()] {
        let a = Account::new("a", bearer("dead")).source(script);
        let upstream = Upstream::default().token_forever("dead", Step::status(401));
        let world = world([a, Account::new("b", bearer("tok-b")).priority(-1)], upstream);
        let (answer, ()) = tokio::join!(world.send(), async {
            sleep(seconds(1)).await;
            assert!(world.pool.remove("a"));
        });
        assert_eq!(answer.status(), 200);
        sleep(seconds(120)).await;
        assert!(world.recorder.codes().is_empty(), "{:?}", world.recorder.codes());
    }
}

#[tokio::test(start_paused = true)]
async fn terminated_login_from_before_a_replacement_does_not_affect_the_new_token() {
    let script = Script::new([(2, terminated()), (1, give("t3"))]);
    let upstream = Upstream::default().token_forever("dead", Step::status(401));
    let a = Account::new("a", bearer("dead")).source(script);
    let world = world([a], upstream);
    let (_, ()) = tokio::join!(world.send(), async {
        sleep(seconds(1)).await;
        world.pool.replace("a", bearer("t2")).unwrap();
    });
    sleep(seconds(5)).await;
    assert_eq!(world.recorder.codes(), Vec::<&str>::new());
    world.upstream.set_token("t2", Step::status(401));
    assert_eq!(world.send().await.status(), 200);
    assert_eq!(world.upstream.tokens().last().unwrap(), "t3");
}

#[tokio::test(start_paused = true)]
async fn refresh_within_the_wait_is_used_without_a_call_per_request() {
    let calls = Arc::new(AtomicUsize::new(0));
    let source = {
        let calls = calls.clone();
        move |_: RefreshReason| {
            let n = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(Duration::from_millis(10)).await;
                Ok(Token::new(format!("t{n}")).expires_in(seconds(30)))
            }
        }
    };
    let a = Account::from_source("a", source);
    let a = a.refresh_windows(RefreshWindows::fixed(seconds(120), seconds(60)));
    let world = world([a], Upstream::default());
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(world.send().await.status(), 200);
    }
    assert!(start.elapsed() < seconds(1), "{:?}", start.elapsed());
    assert!(calls.load(Ordering::SeqCst) < 3, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn answer_to_a_call_from_before_the_rejection_does_not_confirm_it() {
    // A source that keeps its token until it is called after a rejection.
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let source = {
        let reasons = reasons.clone();
        move |why: RefreshReason| {
            reasons.lock().unwrap().push(why);
            async move {
                sleep(seconds(2)).await;
                Ok(Token::new(if why.is_rejected() { "t1" } else { "t0" }).refresh_in(seconds(60)))
            }
        }
    };
    let world = world([Account::from_source("a", source)], Upstream::default());
    assert_eq!(world.send().await.status(), 200);
    sleep(seconds(61)).await;
    // This one starts a call to its source.
    assert_eq!(world.send().await.status(), 200);
    sleep(seconds(1)).await;
    world.upstream.set_token("t0", Step::status(401));
    assert_eq!(world.send().await.status(), 200, "{:?}", reasons.lock().unwrap());
    assert!(world.recorder.codes().is_empty(), "{:?}", world.recorder.codes());
}

#[tokio::test(start_paused = true)]
async fn source_without_a_new_token_is_called_at_once_after_a_rejection() {
    let source = |why: RefreshReason| {
        let token = Token::new(if why.is_rejected() { "t1" } else { "t0" });
        std::future::ready(Ok(token.refresh_in(seconds(10))))
    };
    let world = world([Account::from_source("a", source)], Upstream::default());
    assert_eq!(world.send().await.status(), 200);
    sleep(seconds(11)).await;
    assert_eq!(world.send().await.status(), 200);
    sleep(Duration::from_millis(100)).await;
    world.upstream.set_token("t0", Step::status(401));
    assert_eq!(world.send().await.status(), 200, "{:?}", world.recorder.codes());
}

#[test]
fn request_without_a_timer_does_not_wait_for_a_token() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let script = Script::default();
    let world = world([Account::from_source("a", script.clone())], Upstream::default());
    // Its source is called in a runtime, and hangs.
    let first = runtime.spawn(world.service.clone().oneshot(get()));
    while script.reasons().is_empty() {
        std::thread::yield_now();
    }
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outside = world.service.clone().oneshot(get()).now_or_never().expect("no wait");
    let without = timeless.block_on(world.service.clone().oneshot(get()));
    assert_eq!([outside, without].map(|answer| answer.unwrap().status().as_u16()), [503; 2]);
    assert!(world.pool.wait_ready().now_or_never().expect("no wait").is_err());
    first.abort();
}

#[test]
fn source_is_not_called_without_a_timer() {
    let script = Script::new([(1, give("t1"))]);
    let world = world([Account::from_source("a", script.clone())], Upstream::default());
    let timeless = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(timeless.block_on(world.send()).status(), 503);
    let incidents = world.recorder.incidents();
    assert!(incidents[0].to_string().contains("timer"), "{incidents:?}");
    assert!(script.reasons().is_empty());
}

#[tokio::test]
async fn file_or_variable_with_another_token_is_read_after_any_rejection() {
    let path = std::env::temp_dir().join(format!("token-changes-{}", std::process::id()));
    std::fs::write(&path, "t0").unwrap();
    let world = world([Account::from_source("a", FileToken::new(&path))], Upstream::default());
    assert_eq!(world.send().await.status(), 200);
    std::fs::write(&path, "t1").unwrap();
    world.upstream.set_token("t0", revoked());
    let answer = world.send().await;
    std::fs::remove_file(path).unwrap();
    assert_eq!(answer.status(), 200, "{:?}", failure(&answer));
    assert!(EnvToken::new("TOKEN").can_renew_after(Reason::Revoked));
}

/// A source that always returns the same token, and says that it can mint.
struct SameToken(&'static str);

impl TokenSource for SameToken {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(std::future::ready(give(self.0)))
    }

    fn can_renew_after(&self, _: Reason) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn revoked_token_that_its_source_returns_again_closes_its_group() {
    for others in [200, 401] {
        let upstream = Upstream::default().token_forever("dead", revoked());
        let a = Account::new("a", bearer("dead")).source(SameToken("dead")).group("g");
        let b = Account::new("b", bearer("tok-b")).group("g").priority(-1);
        let c = Account::new("c", bearer("tok-c")).priority(-2);
        let upstream = upstream.token_forever("tok-c", Step::status(others));
        let world = world([a, b, c], upstream);
        assert_eq!(world.send().await.status().as_u16(), others);
        assert_eq!(world.upstream.tokens(), ["dead", "tok-c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn source_that_is_down_does_not_replace_the_rejection_of_a_closed_group() {
    let upstream = Upstream::default().token_forever("dead", revoked());
    let a = Account::new("a", bearer("dead")).group("g");
    let script = Script::each([down()]);
    let b = Account::from_source("b", script.clone()).group("g").priority(-1);
    let world = world([a, b], upstream);
    let mut pinned = post();
    pinned.extensions_mut().insert(RequestOptions::new().pin("b"));
    assert_eq!(world.service.clone().oneshot(pinned).await.unwrap().status(), 503);
    assert_eq!((world.send().await.status().as_u16(), script.calls()), (401, 1));
}

#[tokio::test(start_paused = true)]
async fn request_does_not_wait_for_a_token_of_a_closed_group() {
    let upstream = Upstream::default().token_forever("dead", revoked());
    let a = Account::new("a", bearer("dead")).group("g");
    let b = Account::from_source("b", Script::default()).group("g").priority(-1);
    let world = world([a, b], upstream);
    let start = Instant::now();
    let answer = world.send().await;
    assert_eq!((answer.status().as_u16(), start.elapsed()), (401, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn request_does_not_wait_for_a_third_token_after_two_rejections() {
    let script = Script::new([(1, give("t1")), (9, give("t2"))]);
    let upstream = Upstream::default()
        .token_forever("dead", Step::status(401))
        .token("t1", [Step::status(401).after(seconds(3)), Step::status(200)]);
    let a = Account::new("a", bearer("dead")).source(script.clone());
    let world = world([a], upstream);
    let start = Instant::now();
    let ((first, took), _) = tokio::join!(async { (world.send().await, start.elapsed()) }, async {
        sleep(seconds(2)).await;
        world.send().await
    });
    sleep(seconds(1)).await;
    assert_eq!((first.status().as_u16(), took, script.reasons().len()), (401, seconds(4), 2));
}

#[tokio::test(start_paused = true)]
async fn token_waiter_does_not_block_the_refresh() {
    // The token is fetched with the same client, which sends one request at a time.
    let upstream = Upstream::default();
    let client = tower::limit::ConcurrencyLimit::new(upstream.clone(), 1);
    let through = client.clone();
    let source = move |_: RefreshReason| {
        let client = through.clone();
        async move {
            client.oneshot(get()).await.map_err(|_| SourceError::transient("down"))?;
            give("t1")
        }
    };
    let pool = Pool::builder().account(Account::from_source("a", source)).any_origin();
    let pool = pool.build().unwrap();
    let service = FailoverLayer::builder().rotation(pool).build().unwrap().layer(client);
    let start = Instant::now();
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), start.elapsed()), (200, Duration::ZERO));
}

#[test]
fn validation_may_change_the_pool() {
    let own = Arc::new(OnceLock::<Pool>::new());
    let seen = own.clone();
    let validate = move |_: &str, _: &str| {
        seen.get().map(|pool| pool.cool_down("a", None, seconds(1)));
        Ok(())
    };
    let pool = Pool::builder().account(Account::new("a", bearer("t"))).any_origin();
    let pool = pool.validate(validate).build().unwrap();
    own.set(pool.clone()).unwrap();
    // A task that waits for its own lock never ends: in a thread of its own, that is only a failure.
    let (sender, result) = mpsc::channel();
    let changed = pool.clone();
    std::thread::spawn(move || {
        changed.insert(Account::new("b", bearer("t"))).unwrap();
        sender.send(changed.replace("b", bearer("t2")))
    });
    assert_eq!(result.recv_timeout(seconds(10)), Ok(Ok(2)), "a deadlock");
    assert_eq!(pool.view().accounts[0].state, State::Cooling);
}

/// A source whose call continues for a while after it was abandoned, and records further calls.
struct Lingers(mpsc::Receiver<()>, Arc<AtomicBool>);

impl Drop for Lingers {
    fn drop(&mut self) {
        let early = self.0.recv_timeout(Duration::from_millis(300)).is_ok();
        self.1.store(early, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_source_is_not_called_before_an_abandoned_call_has_ended() {
    let early = Arc::new(AtomicBool::new(true));
    let (called, calls) = mpsc::channel();
    let lingers = Mutex::new(Some(Lingers(calls, early.clone())));
    let a = Account::from_source("a", move |_: RefreshReason| {
        let lingers = lingers.lock().unwrap().take();
        async move {
            std::future::pending::<()>().await;
            drop(lingers);
            down()
        }
    });
    let b = Account::from_source("b", move |_: RefreshReason| {
        let _ = called.send(());
        std::future::ready(give("t1"))
    });
    let builder = Pool::builder().accounts([a.group("g"), b.group("g")]);
    let world = world_of(builder.refresh_deadline(Duration::from_millis(1)), Upstream::default());
    while world.send().await.status() != 200 {
        tokio::task::yield_now().await;
    }
    assert!(!early.load(Ordering::SeqCst));
}
