//! Accounts whose tokens come from a source that plays a script.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::support::*;
use crate::pool::select::query::{Pin, Query, Unavailable};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{
        Account, Credential, Expires, RefreshReason, RefreshWindows, SourceError, Token,
        TokenFuture, TokenSource,
    },
    pool::*,
    report::{Event, OutReason, TokenEventKind},
};

/// The response of a source to a call.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    Give(&'static str, Option<u64>),
    Fail,
    Over,
    Hang,
    Panic,
}

use Play::{Fail, Give, Hang, Over, Panic};

/// A source that plays a script, each step after a second, and remembers why it was asked.
#[derive(Clone, Default)]
pub(crate) struct Script {
    plays: Arc<Mutex<VecDeque<Play>>>,
    pub(crate) asked: Arc<Mutex<Vec<RefreshReason>>>,
}

impl Script {
    pub(crate) fn new(plays: impl IntoIterator<Item = Play>) -> Self {
        let plays = Arc::new(Mutex::new(plays.into_iter().collect()));
        Self { plays, asked: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl TokenSource for Script {
    fn token(&self, why: RefreshReason) -> TokenFuture<'_> {
        self.asked.lock().unwrap().push(why);
        let play = self.plays.lock().unwrap().pop_front().expect("one more step");
        Box::pin(async move {
            sleep(secs(1)).await;
            match play {
                Give(token, Some(left)) => Ok(Token::new(token).expires_in(secs(left))),
                Give(token, None) => Ok(Token::new(token)),
                Fail => Err(SourceError::transient("the vault is sealed")),
                Over => Err(SourceError::terminal(Reason::Revoked, "invalid_grant")),
                Hang => std::future::pending().await,
                Panic => panic!("a source that panics"),
            }
        })
    }
}

struct World {
    pool: Pool,
    reported: Reported,
    script: Script,
}

fn world(plays: impl IntoIterator<Item = Play>) -> World {
    world_of(plays, |account| account)
}

/// An account whose tokens are replaced in the last 30 s, and waited for in the last 10.
fn world_of(
    plays: impl IntoIterator<Item = Play>,
    account: impl FnOnce(Account) -> Account,
) -> World {
    let (script, reported) = (Script::new(plays), Reported::default());
    let alice = Account::from_source("alice", script.clone())
        .refresh_windows(RefreshWindows::fixed(secs(30), secs(10)));
    let pool = Pool::builder().any_origin().account(account(alice)).reporter(reported.reporter());
    World { pool: pool.build().unwrap(), reported, script }
}

impl World {
    fn pick(&self) -> Result<Leased, Unavailable> {
        self.pool.pick(&ANY, &mut Now::unread()).map(|lease| Leased::new(&self.pool, lease))
    }

    /// The token of the account that serves now, or why none does.
    fn token(&self) -> Result<String, Code> {
        let lease = self.pick().map_err(|none| none.code)?;
        Ok(String::from_utf8(lease.generation.credential.token().to_vec()).unwrap())
    }

    /// The result of a request that waits while a source is called.
    async fn get(&self) -> Result<String, Code> {
        let mut changed = Some(self.pool.wait_for_change(&mut None, None));
        while self.pick().is_err_and(|none| none.is_under_way()) {
            let Some(next) = changed else { break };
            changed = next.await;
        }
        self.token()
    }

    async fn reject(&self, reason: Reason) {
        let mut lease = self.pick().unwrap();
        lease.sent();
        lease.rejected(reason, None, &mut Now::unread());
        drop(lease);
        tokio::task::yield_now().await;
    }
}

#[allow(clippy::unnecessary_wraps, reason = "what it is compared with is wrapped")]
fn ok(token: &str) -> Result<String, Code> {
    Ok(token.to_owned())
}

#[tokio::test(start_paused = true)]
async fn source_is_called_once_on_first_use() {
    let world = world([Give("t1", None)]);
    sleep(secs(60)).await;
    assert_eq!(world.script.calls(), 0);
    let all = futures_util::future::join_all((0..1000).map(|_| world.get())).await;
    assert!(all.iter().all(|token| *token == ok("t1")));
    sleep(secs(100_000)).await;
    assert_eq!(world.token(), ok("t1"), "nothing is known of its end");
    assert_eq!(*world.script.asked.lock().unwrap(), [RefreshReason::First]);
    assert!(world.reported.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn advisory_window_starts_one_refresh_without_a_wait() {
    let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(69)).await;
    assert_eq!((world.token(), world.script.calls()), (ok("t1"), 1));
    sleep(secs(5)).await;
    for _ in 0..10 {
        assert_eq!(world.token(), ok("t1"));
        tokio::task::yield_now().await;
    }
    assert_eq!(world.script.calls(), 2);
    sleep(secs(2)).await;
    assert_eq!((world.token(), world.script.calls()), (ok("t2"), 2));
    assert_eq!(world.script.asked.lock().unwrap()[1], RefreshReason::Expiring);
}

#[tokio::test(start_paused = true)]
async fn mandatory_window_makes_requests_wait() {
    let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(95)).await;
    assert_eq!(world.token(), Err(Code::NotReady));
    assert_eq!(world.pool.view().accounts[0].state, State::Refreshing);
    assert_eq!(world.get().await, ok("t2"));
    assert!(world.reported.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn failed_refresh_never_displaces_a_token_that_is_good() {
    let plays = [Give("t1", Some(100)), Fail, Fail, Panic, Fail, Fail];
    let world = world(plays);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(75)).await;
    while world.script.calls() < 5 {
        assert_eq!(world.get().await, ok("t1"));
        sleep(Duration::from_millis(500)).await;
    }
    // One of a row of failures is reported.
    let reported = world.reported.events();
    let [Event::Token(event)] = &reported[..] else { panic!("{reported:?}") };
    let TokenEventKind::RefreshFailed {
        reason: None,
        valid_for: Some(_),
        next_call_in: Some(_),
        error,
    } = &event.kind
    else {
        panic!("{event:?}")
    };
    assert_eq!(&**error, "the vault is sealed");
    // It has ended: an error, and never the stale token.
    sleep(secs(40)).await;
    assert_eq!(world.get().await, Err(Code::NotReady));
    let none = world.pick().unwrap_err();
    assert!(none.retry_after.is_some_and(|after| after > Duration::ZERO), "{none:?}");
}

#[tokio::test(start_paused = true)]
async fn failed_call_is_shared_and_not_repeated_at_once() {
    let world = world([Fail, Fail, Give("t1", None)]);
    let all = futures_util::future::join_all((0..8).map(|_| world.get())).await;
    assert!(all.iter().all(|token| *token == Err(Code::NotReady)));
    for _ in 0..100 {
        assert_eq!(world.token(), Err(Code::NotReady));
    }
    tokio::task::yield_now().await;
    assert_eq!(world.script.calls(), 1);
    // The memory grows: up to 0.6 s, then up to 1.2 s.
    sleep(Duration::from_millis(600)).await;
    assert_eq!(world.get().await, Err(Code::NotReady));
    assert_eq!(world.script.calls(), 2);
    sleep(Duration::from_millis(990)).await;
    assert_eq!((world.token(), world.script.calls()), (Err(Code::NotReady), 2));
    sleep(Duration::from_millis(210)).await;
    assert_eq!(world.get().await, ok("t1"));
    assert_eq!(world.reported.events().len(), 1, "one row of failures");
}

#[tokio::test(start_paused = true)]
async fn source_that_hangs_or_panics_releases_waiting_requests() {
    for play in [Hang, Panic] {
        let world = world([play.clone(), Give("t1", None)]);
        let start = Instant::now();
        assert_eq!(world.get().await, Err(Code::NotReady));
        assert!(start.elapsed() <= secs(10));
        // One that hangs for ever is given up.
        while start.elapsed() < secs(99) && matches!(play, Hang) {
            assert_eq!((world.token(), world.script.calls()), (Err(Code::NotReady), 1));
            sleep(secs(1)).await;
        }
        sleep(secs(60)).await;
        world.pool.wait_ready().await.unwrap();
        assert_eq!(world.token(), ok("t1"));
        assert_eq!(world.reported.events().len(), 1, "one row of failures");
    }
}

#[tokio::test(start_paused = true)]
async fn late_token_is_used_and_no_call_starts_before_it() {
    let (asked, reported) = (Arc::new(Mutex::new(0)), Reported::default());
    let source = {
        let asked = asked.clone();
        move |_: RefreshReason| {
            *asked.lock().unwrap() += 1;
            async {
                sleep(secs(40)).await;
                Ok(Token::new("t1"))
            }
        }
    };
    let alice = Account::from_source("alice", source).group("owner");
    let bob = Account::from_source("bob", Script::new([Give("b1", None)])).group("owner");
    let (carol, quick) = (Script::new([Give("c1", None)]), Duration::from_millis(1));
    let carol = Account::from_source("carol", carol);
    let pool =
        Pool::builder().any_origin().accounts([alice, bob, carol]).reporter(reported.reporter());
    let pool = pool.build().unwrap();
    let pick = |id| {
        let query = Query { pin: Some(Pin::Strict(id)), ..ANY };
        pool.pick(&query, &mut Now::unread()).map(drop)
    };
    let all = || ["alice", "bob", "carol"].map(|id| pick(id).map_err(|none| none.is_under_way()));
    assert_eq!(all(), [Err(true); 3]);
    // Another group waits only for its own calls.
    sleep(secs(9)).await;
    assert_eq!(all(), [Err(true), Err(true), Ok(())]);
    // At the deadline no request waits any longer, nor in its group.
    sleep(secs(1) + quick).await;
    for _ in 0..29 {
        assert_eq!(all(), [Err(false), Err(false), Ok(())]);
        sleep(secs(1)).await;
    }
    assert_eq!(reported.events().len(), 2);
    sleep(secs(1)).await;
    assert_eq!((pick("alice").is_ok(), *asked.lock().unwrap()), (true, 1));
    sleep(secs(1)).await;
    assert_eq!(all(), [Ok(()); 3]);
    assert!(reported.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn late_call_ends_with_the_pool() {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let source = move |_: RefreshReason| {
        let held = held.clone();
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok(Token::new("t1"))
        }
    };
    let pool = Pool::builder().any_origin().account(Account::from_source("alice", source));
    let pool = pool.build().unwrap();
    assert!(pool.pick(&ANY, &mut Now::unread()).is_err());
    sleep(secs(11)).await;
    drop(pool);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(weak.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn refresh_outlives_the_request_that_started_it() {
    let world = world([Give("t1", None)]);
    {
        let get = world.get();
        tokio::pin!(get);
        let waited = tokio::time::timeout(Duration::from_millis(10), &mut get).await;
        assert!(waited.is_err());
    }
    assert_eq!(world.get().await, ok("t1"));
    assert_eq!(world.script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_replaced_once_for_many_requests() {
    let world = world([Give("t1", None), Give("t2", None)]);
    world.pool.wait_ready().await.unwrap();
    let mut flying: Vec<_> = (0..12).map(|_| world.pick().unwrap()).collect();
    for lease in &mut flying {
        lease.sent();
        lease.rejected(Reason::Expired, None, &mut Now::unread());
        assert!(!lease.still_good());
    }
    drop(flying);
    assert_eq!(world.get().await, ok("t2"));
    assert_eq!(
        *world.script.asked.lock().unwrap(),
        [RefreshReason::First, RefreshReason::Rejected(Reason::Expired)]
    );
    assert!(world.reported.events().is_empty(), "nobody needs to know");
}

#[tokio::test(start_paused = true)]
async fn new_token_that_is_rejected_at_once_is_quarantined() {
    let world = world([Give("t1", None), Give("t2", None), Give("t3", None)]);
    world.pool.wait_ready().await.unwrap();
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, ok("t2"));
    world.reject(Reason::Invalid).await;
    assert_eq!(world.token(), Err(Code::CredentialInvalid));
    assert_eq!((world.script.calls(), world.reported.take()), (2, vec!["dead alice".to_owned()]));
    // When its time is up, the source is asked along with the probe.
    sleep(secs(301)).await;
    let probe = world.pick().unwrap();
    assert!(probe.is_probe());
    sleep(secs(2)).await;
    assert_eq!(world.token(), ok("t3"));
}

#[tokio::test(start_paused = true)]
async fn same_token_after_a_rejection_is_quarantined() {
    let world = world([Give("t1", None), Give("t1", None)]);
    world.pool.wait_ready().await.unwrap();
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, Err(Code::CredentialInvalid));
    assert_eq!(world.reported.take(), ["dead alice"]);
    assert_eq!(world.pool.view().accounts[0].generation, 1);
}

#[tokio::test(start_paused = true)]
async fn revoked_token_is_not_replaced() {
    let world = world([Give("t1", None)]);
    world.pool.wait_ready().await.unwrap();
    world.reject(Reason::Revoked).await;
    assert_eq!(world.get().await, Err(Code::CredentialRevoked));
    assert_eq!(world.script.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn terminal_source_retires_the_account_when_its_token_ends() {
    let world = world([Give("t1", Some(100)), Over]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(75)).await;
    assert_eq!(world.token(), ok("t1"));
    sleep(secs(5)).await;
    assert_eq!(world.get().await, ok("t1"), "it is good yet");
    let reported = world.reported.events();
    let [Event::Token(event)] = &reported[..] else { panic!("{reported:?}") };
    let TokenEventKind::RefreshFailed { reason: Some(Reason::Revoked), next_call_in: None, .. } =
        event.kind
    else {
        panic!("{event:?}")
    };
    sleep(secs(30)).await;
    assert_eq!(world.get().await, Err(Code::CredentialRevoked));
    let reported = world.reported.events();
    let [Event::PoolDead(dead)] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!(dead.cause.reason, OutReason::RefreshFailed(Reason::Revoked));
    assert_eq!(dead.cause.out_for, Duration::MAX);
    assert_eq!(world.script.calls(), 2);
    // A person has logged in again.
    world.pool.replace("alice", Credential::bearer("t9").unwrap()).unwrap();
    assert_eq!(world.token(), ok("t9"));
}

#[tokio::test(start_paused = true)]
async fn malformed_token_is_a_failure_that_does_not_show_it() {
    let world = world([Give("s3cr3t\nvalue", None)]);
    assert_eq!(world.get().await, Err(Code::NotReady));
    let reported = format!("{:?}", world.reported.events());
    assert!(reported.contains("not usable") && !reported.contains("s3cr3t"), "{reported}");
}

#[tokio::test(start_paused = true)]
async fn replaced_credential_is_not_overwritten_by_a_later_token() {
    let world = world([Give("t1", None), Give("t2", None)]);
    assert_eq!(world.token(), Err(Code::NotReady));
    tokio::task::yield_now().await;
    world.pool.replace("alice", Credential::bearer("mine").unwrap()).unwrap();
    sleep(secs(5)).await;
    assert_eq!(world.token(), ok("mine"));
    // And its source is asked again when it is refused.
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, ok("t2"));
}

#[tokio::test(start_paused = true)]
async fn cooldown_of_the_account_continues_with_its_next_token() {
    let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(75)).await;
    let mut flying = world.pick().unwrap();
    tokio::task::yield_now().await;
    flying.limited(None, Some(secs(60)), &mut Now::unread());
    flying.generation.model_cooldowns(|models| models.cool_down("large", 0, 10_000_000));
    sleep(secs(5)).await;
    let view = world.pool.view().accounts.remove(0);
    assert_eq!((view.generation, view.state), (2, State::Cooling));
    assert_eq!(view.model_cooldowns.len(), 1);
    assert!(view.expires_in.is_some());
}

#[tokio::test(start_paused = true)]
async fn doubling_of_the_cooldown_continues_with_the_next_token() {
    let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
    world.pool.wait_ready().await.unwrap();
    for (waited, cooldown) in [(75, 1), (5, 2)] {
        let mut limited = world.pick().unwrap();
        limited.limited(None, None, &mut Now::unread());
        let view = world.pool.view().accounts.remove(0);
        assert_eq!(view.usable_in, Some(secs(cooldown)));
        sleep(secs(waited)).await;
        let _ = world.token();
        sleep(secs(5)).await;
    }
    assert_eq!(world.pool.view().accounts[0].generation, 2);
}

#[tokio::test(start_paused = true)]
async fn late_429_counts_for_a_generation_that_its_source_renewed() {
    for model in [None, Some("large")] {
        let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
        world.pool.wait_ready().await.unwrap();
        let mut late = world.pick().unwrap();
        sleep(secs(75)).await;
        assert_eq!(world.token(), ok("t1"));
        sleep(secs(5)).await;
        assert_eq!(world.token(), ok("t2"));
        late.limited(model, Some(secs(60)), &mut Now::unread());
        let view = world.pool.view().accounts.remove(0);
        let (state, models) =
            if model.is_some() { (State::Usable, 1) } else { (State::Cooling, 0) };
        assert_eq!((view.generation, view.state, view.model_cooldowns.len()), (2, state, models));
        assert_eq!(late.generation(), 1, "it stays the lease of the token that was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn late_429_never_counts_for_a_generation_that_an_operator_put_in() {
    let world = world([Give("t1", Some(100)), Give("t2", Some(100))]);
    world.pool.wait_ready().await.unwrap();
    let mut limited = world.pick().unwrap();
    let mut out_of_quota = world.pick().unwrap();
    world.pool.replace("alice", Credential::bearer("mine").unwrap()).unwrap();
    limited.limited(None, Some(secs(60)), &mut Now::unread());
    out_of_quota.out_of_quota(None, None, &mut Now::unread());
    let view = world.pool.view().accounts.remove(0);
    assert_eq!((view.generation, view.state), (2, State::Usable));
    // Nor for the renewals that follow it.
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, ok("t2"));
    let mut limited = Leased::new(&world.pool, limited.lease);
    limited.limited(None, Some(secs(60)), &mut Now::unread());
    assert_eq!(world.token(), ok("t2"));
}

#[tokio::test(start_paused = true)]
async fn known_expiry_retires_the_account() {
    let reported = Reported::default();
    let ends = |id: &str, left| account(id).expires(Expires::In(secs(left)));
    let pool = Pool::builder()
        .any_origin()
        .accounts([ends("short", 50), ends("long", 100)])
        .expiry_warnings([])
        .reporter(reported.reporter())
        .build()
        .unwrap();
    let pick = || pool.pick(&ANY, &mut Now::unread()).map(|lease| lease.id().to_string());
    assert_eq!(pool.view().accounts[0].expires_in, Some(secs(50)));
    sleep(secs(50)).await;
    for _ in 0..4 {
        assert_eq!(pick(), Ok("long".to_owned()));
    }
    let events = reported.events();
    let [Event::AccountOut(out)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((out.reason, out.expired_ago), (OutReason::Expired, Some(Duration::ZERO)));
    assert!(out.expired_at.is_some());
    sleep(secs(53)).await;
    assert_eq!(pick().unwrap_err().code, Code::CredentialExpired);
    assert_eq!(reported.take(), ["dead long"]);
    // A person knows better than the clock.
    assert!(pool.revive("long"));
    assert_eq!(pick(), Ok("long".to_owned()));
    sleep(secs(100)).await;
    assert_eq!(pick(), Ok("long".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn credential_put_in_after_its_expiry_is_sent_and_reported_once() {
    // {"alg":"none"} . {"iss":"joe","exp":1300819380}
    let old = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.x";
    let world = world([Give(old, None)]);
    assert_eq!(world.get().await, ok(old));
    let reported = world.reported.events();
    sleep(secs(1_000_000)).await;
    assert_eq!(world.token(), ok(old));
    world.pool.replace("alice", Credential::bearer(format!("{old}y")).unwrap()).unwrap();
    assert!(world.reported.events().is_empty(), "the clock is still the same");
    let [Event::Token(event)] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!(event.account.ordinal, 1);
    assert!(matches!(event.kind, TokenEventKind::ClockSkew { late } if late > secs(1_000_000)));
}

#[tokio::test(start_paused = true)]
async fn changed_file_is_noticed_without_a_rejection() {
    let now = Arc::new(Mutex::new("one"));
    let source = {
        let now = now.clone();
        move |_: RefreshReason| {
            let token = Token::new(*now.lock().unwrap()).refresh_in(secs(10));
            std::future::ready(Ok::<_, SourceError>(token))
        }
    };
    let account = Account::from_source("file", source);
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    pool.wait_ready().await.unwrap();
    let generation = || pool.view().accounts[0].generation;
    let touch =
        || pool.pick(&ANY, &mut Now::unread()).map(|lease| Leased::new(&pool, lease)).unwrap();
    for _ in 0..10 {
        sleep(secs(11)).await;
        drop(touch());
    }
    assert_eq!(generation(), 1, "the same one again is no news");
    *now.lock().unwrap() = "two";
    sleep(secs(11)).await;
    drop(touch());
    sleep(secs(1)).await;
    assert_eq!((generation(), touch().generation.credential.token()), (2, &b"two"[..]));
}

#[test]
fn missing_runtime_gives_no_token_and_no_panic() {
    let world = world([Give("t1", None)]);
    assert_eq!(world.token(), Err(Code::NotReady));
    assert_eq!(world.script.calls(), 0);
}

#[test]
fn validate_checks_every_token_that_is_put_in() {
    let validate = |_: &str, token: &str| {
        if token.starts_with("tok-") { Ok(()) } else { Err("it begins with `tok-`") }
    };
    let pool = accounts(&["a"]).validate(validate).build().unwrap();
    let bad = || Credential::bearer("pk-1").unwrap();
    assert!(matches!(pool.replace("a", bad()), Err(PoolError::Format { .. })));
    assert!(matches!(pool.insert(Account::new("b", bad())), Err(PoolError::Format { .. })));
    assert!(pool.replace("a", Credential::bearer("tok-1").unwrap()).is_ok());
}

/// How the first token of 100 s, which came in after 1 s, is seen after this one came in after 77 s.
async fn after(play: Play) -> (World, u64) {
    let world = world([Give("t1", Some(100)), play, Hang]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(75)).await;
    assert_eq!(world.token(), ok("t1"));
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(world.script.calls(), 2);
    let generation = world.pool.view().accounts[0].generation;
    (world, generation)
}

#[tokio::test(start_paused = true)]
async fn same_token_is_a_new_generation_if_it_lasts_over_a_second_longer() {
    // It ends after 101 s.
    for (left, extended) in [(23, false), (24, false), (25, false), (26, true), (1000, true)] {
        let (world, generation) = after(Give("t1", Some(left))).await;
        assert_eq!(generation == 2, extended, "{left} s left, generation {generation}");
        if left == 1000 {
            sleep(secs(500)).await;
            assert_eq!((world.token(), world.script.calls()), (ok("t1"), 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn token_rejected_during_a_call_is_not_used_again() {
    // Asked before the refusal, and once more because of it.
    let again = Give("t1", Some(1000));
    let world = world([Give("t1", Some(100)), again.clone(), again]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(75)).await;
    assert_eq!(world.token(), ok("t1"));
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, Err(Code::CredentialInvalid));
    let (calls, generation) = (world.script.calls(), world.pool.view().accounts[0].generation);
    assert_eq!((calls, generation), (3, 1));
    assert_eq!(world.reported.take(), ["dead alice"]);
}

#[tokio::test(start_paused = true)]
async fn rejection_after_a_terminal_answer_calls_no_source() {
    let (world, _) = after(Over).await;
    world.reject(Reason::Invalid).await;
    assert_eq!(world.get().await, Err(Code::CredentialInvalid));
    assert!(!world.pick().unwrap_err().can_mint);
    assert_eq!(world.pool.view().accounts[0].state, State::Quarantined);
    assert_eq!(world.script.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn cooldown_during_a_call_only_grows() {
    let world = world([Give("t1", Some(100)), Hang]);
    world.pool.wait_ready().await.unwrap();
    sleep(secs(95)).await;
    assert_eq!(world.token(), Err(Code::NotReady));
    for (time, extended) in [(60, true), (60, false), (1, false), (61, true)] {
        assert_eq!(world.pool.cool_down("alice", None, secs(time)), extended, "{time} s");
    }
}

#[tokio::test(start_paused = true)]
async fn replace_and_revive_end_a_cooldown_for_later_tokens() {
    for replaced in [true, false] {
        let world = world([Give("t1", Some(100)), Give("t2", None), Give("t3", None)]);
        world.pool.wait_ready().await.unwrap();
        if replaced {
            // The rest stands beside the state while the source is asked.
            sleep(secs(95)).await;
            assert_eq!(world.token(), Err(Code::NotReady));
            tokio::task::yield_now().await;
            assert!(world.pool.cool_down("alice", None, secs(1000)));
            world.pool.replace("alice", Credential::bearer("mine").unwrap()).unwrap();
            sleep(secs(2)).await;
            assert_eq!(world.token(), ok("mine"));
        } else {
            assert!(world.pool.cool_down("alice", None, secs(1000)));
            assert_eq!(world.token(), Err(Code::PoolLimited));
            assert!(world.pool.revive("alice"));
            assert_eq!(world.token(), ok("t1"));
        }
        world.reject(Reason::Expired).await;
        let next = if replaced { "t3" } else { "t2" };
        assert_eq!(world.get().await, ok(next), "replaced: {replaced}");
    }
}

#[tokio::test(start_paused = true)]
async fn token_confirmed_as_rejected_keeps_the_account_cooldown() {
    let world = world([Give("t1", None), Give("t1", None), Hang]);
    world.pool.wait_ready().await.unwrap();
    world.reject(Reason::Invalid).await;
    assert!(world.pool.cool_down("alice", None, secs(1000)));
    assert_eq!(world.get().await, Err(Code::CredentialInvalid));
    // A refusal alone would be over after 300 s.
    sleep(secs(990)).await;
    assert_eq!(world.token(), Err(Code::CredentialInvalid));
    sleep(secs(20)).await;
    assert!(world.pick().unwrap().is_probe());
}

#[tokio::test(start_paused = true)]
async fn account_is_queued_once_for_many_tokens() {
    let tokens = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"];
    let world = world(tokens.map(|token| Give(token, None)));
    for token in tokens {
        assert_eq!(world.get().await, ok(token));
        world.pick().unwrap().succeeded(None);
        if token != "t9" {
            world.reject(Reason::Expired).await;
        }
    }
    let queued = world.pool.shared().timers.len();
    assert!(queued <= 1, "{queued}");
}

#[tokio::test(start_paused = true)]
async fn lifetime_of_the_account_applies_to_each_token() {
    let world = world_of([Give("t1", None), Give("t2", None)], |account| {
        account.expires(Expires::In(secs(100)))
    });
    for token in ["t1", "t2"] {
        assert_eq!(world.get().await, ok(token));
        assert_eq!(world.pool.view().accounts[0].expires_in.map(|left| left.as_secs()), Some(100));
        sleep(secs(95)).await;
        assert!(world.token().is_err(), "it is waited for in the last 10 s");
    }
}
