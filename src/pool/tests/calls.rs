//! Questions to sources that end otherwise than they should.

use std::sync::{Arc, Mutex};

use tokio::time::{Instant, sleep};

use super::{
    sources::{
        Play::{self, Fail, Give, Hang, Over},
        Script,
    },
    support::*,
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{Account, Credential, Expires, RefreshReason, RefreshWindows, SourceError, Token},
    pool::{
        select::query::{Pin, Query, Unavailable},
        *,
    },
    report::{Event, TokenEventKind},
};

/// Accounts of one owner, whose tokens are replaced in the last 30 s, and waited for in the last 10.
struct World {
    pool: Pool,
    reported: Reported,
    scripts: Vec<Script>,
}

fn world<const N: usize>(plays: [(&str, &[Play]); N]) -> World {
    let (reported, mut scripts) = (Reported::default(), Vec::new());
    let windows = RefreshWindows::fixed(secs(30), secs(10));
    let list = plays.map(|(id, plays)| {
        scripts.push(Script::new(plays.to_vec()));
        let source = scripts[scripts.len() - 1].clone();
        Account::from_source(id, source).refresh_windows(windows).group("owner")
    });
    let pool = Pool::builder().any_origin().accounts(list).reporter(reported.reporter());
    World { pool: pool.build().unwrap(), reported, scripts }
}

impl World {
    fn pick(&self, id: &str) -> Result<Leased, Unavailable> {
        pinned(&self.pool, id)
    }

    fn asked(&self, at: usize) -> Vec<RefreshReason> {
        self.scripts[at].asked.lock().unwrap().clone()
    }

    /// Refuses what the account has now, as a request does that was sent with it.
    fn reject(&self, id: &str, reason: Reason) {
        let mut lease = self.pick(id).unwrap();
        lease.sent();
        lease.rejected(reason, None, &mut Now::unread());
    }

    fn state(&self, id: &str) -> State {
        let view = self.pool.view();
        view.accounts.iter().find(|account| *account.id == *id).unwrap().state
    }

    /// The news of a token, where nothing else was reported.
    fn changed(&self) -> TokenEventKind {
        match &self.reported.events()[..] {
            [Event::Token(event)] => event.kind.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn pinned(pool: &Pool, id: &str) -> Result<Leased, Unavailable> {
    pool.pick(&Query { pin: Some(Pin::Strict(id)), ..ANY }, &mut Now::unread())
        .map(|lease| Leased::new(pool, lease))
}

fn token(lease: &Leased) -> &str {
    std::str::from_utf8(lease.generation.credential.token()).unwrap()
}

/// The result of a request that waits while a source is called.
async fn get(pool: &Pool, id: &str) -> Result<String, Code> {
    let mut changed = Some(pool.wait_for_change(&mut None, None));
    while pinned(pool, id).is_err_and(|none| none.is_under_way()) {
        let Some(next) = changed else { break };
        changed = next.await;
    }
    let lease = pinned(pool, id).map_err(|none| none.code)?;
    Ok(token(&lease).to_owned())
}

#[allow(clippy::unnecessary_wraps, reason = "what it is compared with is wrapped")]
fn ok(token: &str) -> Result<String, Code> {
    Ok(token.to_owned())
}

// --- a question that has to wait for its turn

#[tokio::test(start_paused = true)]
async fn replaced_account_is_not_refreshed_when_its_turn_comes() {
    let world = world([("alice", &[Give("a1", None)]), ("bob", &[Give("b1", None)])]);
    assert!(world.pick("alice").is_err() && world.pick("bob").is_err());
    tokio::task::yield_now().await;
    world.pool.replace("bob", Credential::bearer("mine").unwrap()).unwrap();
    sleep(secs(2)).await;
    assert_eq!((get(&world.pool, "alice").await, world.asked(1)), (ok("a1"), vec![]));
    assert!(world.reported.events().is_empty(), "nothing has failed");
    // When that is refused, its source is asked at once.
    world.reject("bob", Reason::Expired);
    assert_eq!(get(&world.pool, "bob").await, ok("b1"));
    assert_eq!(world.asked(1), [RefreshReason::Rejected(Reason::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn replaced_and_rejected_account_is_refreshed_when_its_turn_comes() {
    let world = world([("alice", &[Give("a1", None)]), ("bob", &[Give("b1", None)])]);
    assert!(world.pick("alice").is_err() && world.pick("bob").is_err());
    tokio::task::yield_now().await;
    world.pool.replace("bob", Credential::bearer("mine").unwrap()).unwrap();
    world.reject("bob", Reason::Expired);
    let start = Instant::now();
    assert_eq!(get(&world.pool, "bob").await, ok("b1"));
    assert_eq!(start.elapsed(), secs(2), "after that of alice");
    assert_eq!(world.asked(1), [RefreshReason::Rejected(Reason::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn dropped_pool_calls_no_source() {
    let World { pool, scripts, .. } =
        world([("alice", &[Give("a1", None)]), ("bob", &[Give("b1", None)])]);
    assert!(pinned(&pool, "alice").is_err() && pinned(&pool, "bob").is_err());
    tokio::task::yield_now().await;
    drop(pool);
    sleep(secs(20)).await;
    let asked = |at: usize| scripts[at].asked.lock().unwrap().len();
    assert_eq!((asked(0), asked(1)), (1, 0));
}

// --- a question that ends without an answer

#[test]
fn runtime_that_stops_during_a_call_lets_the_source_be_called_again() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let world = world([("alice", &[Give("t1", None), Give("t2", None)])]);
    let first = runtime();
    first.block_on(async {
        assert!(world.pick("alice").unwrap_err().is_under_way());
        tokio::task::yield_now().await;
    });
    assert_eq!(world.asked(0).len(), 1);
    drop(first);
    assert!(matches!(world.changed(), TokenEventKind::RefreshFailed { valid_for: None, .. }));
    runtime().block_on(async {
        sleep(secs(2)).await;
        assert_eq!(get(&world.pool, "alice").await, ok("t2"));
    });
}

#[tokio::test(start_paused = true)]
async fn terminal_source_is_reported_without_a_change_of_state() {
    let world = world([("alice", &[Give("t1", None), Give("t1", None), Over])]);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    world.reject("alice", Reason::Invalid);
    assert_eq!(get(&world.pool, "alice").await, Err(Code::CredentialInvalid));
    sleep(secs(301)).await;
    let probe = world.pick("alice").unwrap();
    assert!(probe.is_probe());
    let can_mint = || world.pool.pick(&ANY, &mut Now::unread()).unwrap_err().can_mint;
    assert!(can_mint());
    sleep(secs(2)).await;
    assert!(!can_mint());
    assert_eq!(world.asked(0).len(), 3);
}

// --- a credential that has ended while it was out

#[tokio::test(start_paused = true)]
async fn rejected_credential_that_expired_is_refreshed_instead_of_probed() {
    let plays = [Give("t1", Some(100)), Give("t1", Some(100)), Give("t2", None)];
    let world = world([("alice", &plays)]);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    world.reject("alice", Reason::Invalid);
    assert_eq!(get(&world.pool, "alice").await, Err(Code::CredentialInvalid));
    assert_eq!(world.reported.take(), ["dead alice"]);
    sleep(secs(301)).await;
    assert_eq!(get(&world.pool, "alice").await, ok("t2"));
    assert!(world.reported.take().is_empty(), "that it was refused was reported");
}

#[tokio::test(start_paused = true)]
async fn rejected_credential_that_expired_is_retired_without_a_source() {
    let account = account("a").expires(Expires::In(secs(100)));
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    assert!(pool.invalidate("a", Reason::Invalid));
    sleep(secs(301)).await;
    assert_eq!(pinned(&pool, "a").unwrap_err().code, Code::CredentialInvalid);
    assert_eq!(pool.view().accounts[0].state, State::Retired);
}

#[tokio::test(start_paused = true)]
async fn credential_that_expires_while_its_source_fails_is_not_restored() {
    let world = world([("alice", &[Give("t1", Some(100)), Fail, Hang])]);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    // It ends half a second from now, and its source fails half a second after that.
    sleep(std::time::Duration::from_millis(99_500)).await;
    assert!(world.pick("alice").unwrap_err().is_under_way());
    sleep(secs(2)).await;
    assert!(matches!(world.changed(), TokenEventKind::RefreshFailed { valid_for: None, .. }));
    assert_eq!(world.state("alice"), State::Refreshing);
    assert_eq!(get(&world.pool, "alice").await, Err(Code::NotReady));
}

// --- what is reported of a token that was not replaced

#[tokio::test(start_paused = true)]
async fn remaining_validity_of_a_token_is_reported_to_the_second() {
    let world = world([("alice", &[Give("t1", Some(100)), Fail])]);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    sleep(secs(75)).await;
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    sleep(secs(2)).await;
    let TokenEventKind::RefreshFailed { valid_for, .. } = world.changed() else { panic!() };
    assert_eq!(valid_for, Some(secs(24)));
    // No end is reported for a credential whose expiry is unknown.
    let (reported, first) = (Reported::default(), Arc::new(Mutex::new(true)));
    let source = move |_: RefreshReason| {
        let first = std::mem::take(&mut *first.lock().unwrap());
        let again = Token::new("t1").refresh_in(secs(10));
        std::future::ready(if first { Ok(again) } else { Err(SourceError::transient("down")) })
    };
    let pool = Pool::builder().any_origin().account(Account::from_source("bob", source));
    let pool = pool.reporter(reported.reporter()).build().unwrap();
    assert_eq!(get(&pool, "bob").await, ok("t1"));
    sleep(secs(11)).await;
    assert_eq!(get(&pool, "bob").await, ok("t1"));
    sleep(secs(1)).await;
    let events = reported.events();
    let [Event::Token(event)] = &events[..] else { panic!("{events:?}") };
    let TokenEventKind::RefreshFailed { valid_for, .. } = event.kind else { panic!("{event:?}") };
    assert_eq!(valid_for, Some(std::time::Duration::MAX));
}

#[tokio::test(start_paused = true)]
async fn same_token_beside_a_probe_is_no_failure() {
    let plays = [Give("t1", None), Give("t1", None), Give("t1", None)];
    let world = world([("alice", &plays)]);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
    world.reject("alice", Reason::Invalid);
    assert_eq!(get(&world.pool, "alice").await, Err(Code::CredentialInvalid));
    assert_eq!(world.reported.take(), ["dead alice"]);
    sleep(secs(301)).await;
    let mut probe = world.pick("alice").unwrap();
    sleep(secs(2)).await;
    assert_eq!((world.asked(0).len(), world.state("alice")), (3, State::Probing));
    assert!(world.reported.take().is_empty());
    probe.succeeded(None);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
}

// --- a source that gives the same token again

/// Gives one token, good for 100 s, and the same again from then on, each time after so many seconds;
/// it wants to be asked once a minute.
fn same_again(takes: u64) -> (Pool, Arc<Mutex<u32>>) {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let source = move |_: RefreshReason| {
        let mut asked = count.lock().unwrap();
        *asked += 1;
        let first = *asked == 1;
        async move {
            sleep(secs(if first { 0 } else { takes })).await;
            let token = Token::new("t1");
            let (first_one, again) =
                (token.clone().expires_in(secs(100)), token.refresh_in(secs(60)));
            Ok::<_, SourceError>(if first { first_one } else { again })
        }
    };
    let windows = RefreshWindows::fixed(secs(30), secs(10));
    let account = Account::from_source("a", source).refresh_windows(windows);
    (Pool::builder().any_origin().account(account).build().unwrap(), asked)
}

#[tokio::test(start_paused = true)]
async fn same_token_again_delays_no_wait() {
    let (pool, asked) = same_again(1);
    assert_eq!(get(&pool, "a").await, ok("t1"));
    sleep(secs(75)).await;
    assert_eq!(get(&pool, "a").await, ok("t1"));
    sleep(secs(14)).await;
    assert_eq!(get(&pool, "a").await, ok("t1"));
    assert_eq!(*asked.lock().unwrap(), 2, "not before a minute has passed");
    sleep(secs(2)).await;
    assert!(pinned(&pool, "a").unwrap_err().is_under_way(), "its last 10 s");
    assert_eq!(get(&pool, "a").await, ok("t1"));
    assert_eq!(*asked.lock().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn same_token_in_the_mandatory_window_is_used_to_its_end() {
    let (pool, asked) = same_again(5);
    assert_eq!(get(&pool, "a").await, ok("t1"));
    sleep(secs(85)).await;
    for _ in 0..13 {
        assert_eq!(get(&pool, "a").await, ok("t1"));
        sleep(secs(1)).await;
    }
    assert_eq!(*asked.lock().unwrap(), 2, "it wants to be asked once a minute");
}

#[tokio::test(start_paused = true)]
async fn terminal_source_without_a_token_is_called_again_when_revived() {
    let world = world([("alice", &[Over, Give("t1", None)])]);
    assert_eq!(get(&world.pool, "alice").await, Err(Code::CredentialRevoked));
    assert_eq!(world.state("alice"), State::Retired);
    assert!(world.pool.revive("alice"));
    assert_eq!(world.state("alice"), State::Refreshing);
    assert_eq!(get(&world.pool, "alice").await, ok("t1"));
}
