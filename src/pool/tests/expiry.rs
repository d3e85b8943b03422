//! Whom a request finds: now, when it looks ahead, and when it waits no longer.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, header::AUTHORIZATION};
use tokio::time::sleep;

use super::{
    sources::{Play, Script},
    support::*,
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{Account, Credential, Expires, RefreshWindows},
    pool::{
        Order, Pool, Quarantine, Selection, State,
        index::Roster,
        select::{Pin, Query, Unavailable},
    },
};

fn ends(id: &str, left: u64) -> Account {
    account(id).expires(Expires::In(secs(left)))
}

fn strict(id: &str) -> Query<'_> {
    Query { pin: Some(Pin::Strict(id)), ..ANY }
}

fn pick(pool: &Pool, query: &Query<'_>) -> Result<Leased, Unavailable> {
    pool.pick(query, &mut Now::unread()).map(|lease| Leased::new(pool, lease))
}

fn is_under_way(pool: &Pool, query: &Query<'_>) -> bool {
    pool.is_under_way(query, &mut Now::unread())
}

/// The token that is sent with it.
fn token(lease: &crate::pool::lease::Lease) -> &str {
    std::str::from_utf8(lease.generation.credential.token()).unwrap()
}

/// An account whose tokens are replaced in the last 30 s, and waited for in the last 10.
fn minted(id: &str, plays: impl IntoIterator<Item = Play>) -> (Account, Script) {
    let script = Script::new(plays);
    let account = Account::from_source(id, script.clone());
    (account.refresh_windows(RefreshWindows::fixed(secs(30), secs(10))), script)
}

// --- looking ahead

#[test]
fn pick_at_sees_that_a_credential_will_have_expired() {
    let bench = Bench::new(Pool::builder().any_origin().account(ends("a", 50)));
    let at = |time| bench.pool.pick_at(&ANY, bench.now + secs(time));
    assert!(at(48).is_ok());
    assert!(at(49).is_err() && at(1000).is_err());
    assert_eq!(bench.state("a"), State::Usable, "it has not ended yet");
    assert!(bench.pick().is_ok());
    // Its source may give another by then.
    let script = Script::new([]);
    let minted = ends("a", 50).source(script.clone());
    let bench = Bench::new(Pool::builder().any_origin().account(minted));
    for time in [0, 30, 47, 49, 1000] {
        assert!(bench.pool.pick_at(&ANY, bench.now + secs(time)).is_ok(), "{time}");
    }
    assert!(script.asked.lock().unwrap().is_empty());
}

#[test]
fn pick_at_takes_no_probe_and_calls_no_source() {
    let bench = Bench::new(accounts(&["a"]));
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    for _ in 0..2 {
        let ahead = bench.pool.pick_at(&ANY, bench.now + secs(301)).unwrap();
        assert!(!ahead.is_probe());
        assert_eq!(bench.state("a"), State::Quarantined);
    }
    let (account, script) = minted("b", []);
    let bench = Bench::new(Pool::builder().any_origin().account(account));
    assert!(bench.pool.pick_at(&ANY, bench.now + secs(1)).is_err());
    assert!(script.asked.lock().unwrap().is_empty());
    assert_eq!(bench.pool.view().accounts[0].usable_in, None, "nor has it failed");
}

#[tokio::test(start_paused = true)]
async fn pick_at_counts_a_token_that_is_being_replaced() {
    let (account, _) = minted("a", [Play::Give("t1", Some(100)), Play::Hang]);
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    pool.wait_ready().await.unwrap();
    sleep(secs(92)).await;
    assert_eq!(pick(&pool, &ANY).unwrap_err().code, Code::NotReady);
    let soon = tokio::time::Instant::now() + secs(1);
    for query in [strict("a"), ANY] {
        assert_eq!(token(&pool.pick_at(&query, soon).unwrap()), "t1");
        assert!(pick(&pool, &query).unwrap_err().is_under_way(), "now, it is waited for");
    }
}

// --- waiting no longer

#[tokio::test(start_paused = true)]
async fn last_query_gets_a_credential_that_is_being_replaced_while_it_is_valid() {
    const LAST: Query<'_> = Query { last: true, ..ANY };
    let (account, _) = minted("a", [Play::Give("t1", Some(100)), Play::Hang]);
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    pool.wait_ready().await.unwrap();
    sleep(secs(95)).await;
    for _ in 0..3 {
        assert_eq!(pick(&pool, &ANY).unwrap_err().code, Code::NotReady);
        assert_eq!(token(&pick(&pool, &LAST).unwrap()), "t1");
    }
    sleep(secs(5)).await;
    assert_eq!(pick(&pool, &LAST).unwrap_err().code, Code::NotReady);
    // Nor is one sent that nothing replaces.
    let bench = Bench::new(Pool::builder().any_origin().account(ends("b", 50)));
    let later = Bench { now: bench.now + secs(49), ..bench };
    assert_eq!(later.query(&LAST).unwrap_err().code, Code::CredentialExpired);
}

#[tokio::test(start_paused = true)]
async fn wait_ready_ends_with_a_token_that_is_still_valid() {
    let (account, _) = minted("a", [Play::Give("t1", Some(100)), Play::Hang]);
    let pool = Pool::builder().any_origin().account(account).ready_within(secs(5));
    let pool = pool.build().unwrap();
    pool.wait_ready().await.unwrap();
    sleep(secs(92)).await;
    let start = tokio::time::Instant::now();
    assert_eq!(pool.wait_ready().await, Ok(()));
    assert_eq!(start.elapsed(), secs(5));
}

#[tokio::test(start_paused = true)]
async fn wait_ready_is_bounded_and_fails_at_once_for_a_dead_pool() {
    let start = tokio::time::Instant::now();
    let dead = accounts(&["a"]).build().unwrap();
    dead.invalidate("a", Reason::Revoked);
    assert_eq!(dead.wait_ready().await.unwrap_err().code, Code::CredentialRevoked);
    assert_eq!(start.elapsed(), Duration::ZERO);
    let (account, _) = minted("a", [Play::Hang]);
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    assert_eq!(pool.wait_ready().await.unwrap_err().code, Code::NotReady);
    assert_eq!(start.elapsed(), secs(15));
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_source_is_not_woken_by_a_cooldown_that_is_over() {
    let (minted, _) = minted("a", [Play::Hang]);
    let builder = Pool::builder().any_origin().accounts([minted, account("b")]);
    let pool = builder.build().unwrap();
    pool.cool_down("b", None, secs(1));
    pool.retire("b");
    let mut ready = std::pin::pin!(pool.wait_ready());
    let mut polls = 0;
    let counted = std::future::poll_fn(|cx| {
        polls += 1;
        ready.as_mut().poll(cx)
    });
    assert!(counted.await.is_err());
    assert!(polls < 10, "{polls}");
}

// --- whether a source is asked

#[tokio::test(start_paused = true)]
async fn is_under_way_starts_a_due_call() {
    let world = || {
        let (minted, script) = minted("b", [Play::Hang]);
        let builder = Pool::builder().any_origin().accounts([account("a"), minted]);
        (builder.build().unwrap(), script)
    };
    let (pool, script) = world();
    assert!(is_under_way(&pool, &strict("b")));
    tokio::task::yield_now().await;
    assert_eq!(script.asked.lock().unwrap().len(), 1);
    assert!(!is_under_way(&pool, &strict("a")) && !is_under_way(&pool, &ANY));
    assert!(!is_under_way(&pool, &strict("nobody")));
    // Past those whom the request avoids.
    let (pool, script) = world();
    let avoid = Without(vec![pick(&pool, &strict("a")).unwrap().uid()]);
    assert!(is_under_way(&pool, &Query { avoid: Some(&avoid), ..ANY }));
    tokio::task::yield_now().await;
    assert_eq!(script.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn due_probe_is_preferred_to_a_wait_for_a_source() {
    let (minted, _) = minted("b", [Play::Hang]);
    let builder = Pool::builder().any_origin().accounts([account("a"), minted]);
    let pool = builder.build().unwrap();
    pick(&pool, &strict("a")).unwrap().rejected(Reason::Invalid, None, &mut Now::unread());
    sleep(secs(299)).await;
    assert_eq!(pick(&pool, &ANY).unwrap_err().code, Code::NotReady);
    assert!(is_under_way(&pool, &ANY));
    sleep(secs(1)).await;
    assert!(!is_under_way(&pool, &ANY));
    assert!(pick(&pool, &ANY).unwrap().is_probe());
}

#[test]
fn lease_knows_only_its_own_accounts_source() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let (minted, _) = minted("b", [Play::Hang]);
    let bench = Bench::new(Pool::builder().any_origin().accounts([account("a"), minted]));
    let of_a = bench.pinned("a").unwrap();
    assert!(bench.pinned("b").is_err(), "it is asked");
    assert!(!of_a.is_under_way());
    // The one behind takes the place of the one that is removed.
    assert!(bench.pool.remove("a"));
    assert!(!of_a.is_under_way());
}

// --- who is found

#[test]
fn due_timers_beyond_one_batch_are_handled() {
    let small = |i| account(&format!("a{i}")).models(["small"]);
    let list = (0..256).map(small).chain([account("big")]);
    let mut bench = Bench::new(Pool::builder().any_origin().accounts(list));
    for i in 0..256 {
        let mut lease = bench.pinned(&format!("a{i}")).unwrap();
        lease.rejected(Reason::Invalid, None, &mut bench.clock());
    }
    bench.pass(secs(1));
    bench.pinned("big").unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pass(secs(400));
    let probe = bench.query(&Query { model: Some("big"), ..ANY }).unwrap();
    assert_eq!((&**probe.id(), probe.is_probe()), ("big", true));
}

/// Not more than 64 accounts are a small tier: there, no turn goes to the next in order.
#[test]
fn weights_are_exact_in_a_small_tier_while_the_heaviest_cools() {
    for n in [2_usize, 63] {
        let light = (0..n).map(|i| account(&format!("a{i}")).weight(1 + u32::from(i == 1) * 2));
        let list = [account("heavy").weight(10_000)].into_iter().chain(light);
        let builder = Pool::builder().any_origin().selection(Selection::Weighted).accounts(list);
        let bench = Bench::new(builder);
        bench.pinned("heavy").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
        let order = bench.order(10 * (n + 2));
        for i in 0..n {
            let turns = order.iter().filter(|id| **id == format!("a{i}")).count();
            assert_eq!(turns, if i == 1 { 30 } else { 10 }, "a{i} of {n}");
        }
    }
}

#[test]
fn change_during_a_publish_is_shown_in_the_new_roster() {
    let bench = Bench::new(accounts(&["a", "b", "c"]));
    for id in ["a", "b"] {
        bench.pinned(id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    }
    let entries = bench.pool.shared().roster.load().entries.to_vec();
    let new = Roster::new(entries, Order::Listed, Selection::RoundRobin);
    let shown = || [0, 1, 2].map(|i| new.usable.has(i));
    assert_eq!(shown(), [false, false, true]);
    // That thread knows the old list.
    bench.pool.revive("a");
    assert_eq!(shown(), [false, false, true]);
    new.catch_up();
    assert_eq!(shown(), [true, false, true]);
}

// --- what a rest leaves behind

#[test]
fn success_after_a_cooldown_ends_the_doubling_of_rejections() {
    let mut bench = Bench::new(accounts(&["a"]));
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pass(secs(300));
    bench.pick().unwrap().healthy_failure();
    bench.pick().unwrap().limited(None, Some(secs(10)), &mut bench.clock());
    bench.pass(secs(10));
    bench.pick().unwrap().succeeded(None);
    let again = bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    assert_eq!(again.rest, secs(5), "the first time of one that has succeeded");
}

#[test]
fn quarantine_takes_the_configured_time() {
    let times = Quarantine::new()
        .trusted(secs(1))
        .untrusted(secs(2))
        .revoked(secs(3))
        .max(secs(7))
        .max_revoked(secs(5));
    for (reason, succeeds, expected) in [
        (Reason::Invalid, false, [2, 4, 7, 7]),
        (Reason::Invalid, true, [1, 2, 4, 7]),
        (Reason::Revoked, false, [3, 5, 5, 5]),
        (Reason::Revoked, true, [3, 5, 5, 5]),
    ] {
        let mut bench = Bench::new(accounts(&["a"]).quarantine(times));
        if succeeds {
            bench.pick().unwrap().succeeded(None);
        }
        let cooldowns = expected.map(|_| {
            let rest = bench.pick().unwrap().rejected(reason, None, &mut bench.clock()).rest;
            bench.pass(rest);
            rest.as_secs()
        });
        assert_eq!(cooldowns, expected, "{reason:?}, {succeeds}");
    }
}

// --- what is put on a request, and where it may go

#[test]
fn apply_removes_everything_that_other_accounts_put_on() {
    let key = HeaderName::from_static("x-api-key");
    let org = HeaderName::from_static("x-org");
    let value = HeaderValue::from_static("1");
    let others = [
        Account::new("b", Credential::header(key.clone(), "key-of-b").unwrap()),
        Account::new("b", Credential::query("key", "key-of-b").unwrap()),
        account("b").header(org, value),
    ];
    for other in others {
        let bench = Bench::new(Pool::builder().any_origin().accounts([account("a"), other]));
        let request = || Request::get("https://api.example.com/v1?a=1").body(()).unwrap();
        let (mut clean, ()) = request().into_parts();
        bench.pinned("a").unwrap().apply(&mut clean).unwrap();
        let (mut parts, ()) = request().into_parts();
        for id in ["b", "a"] {
            bench.pinned(id).unwrap().apply(&mut parts).unwrap();
        }
        assert_eq!((&parts.uri, &parts.headers), (&clean.uri, &clean.headers));
        assert_eq!(parts.headers.get(AUTHORIZATION).unwrap(), "Bearer tok-of-a-0");
    }
}

#[test]
fn place_that_many_accounts_use_is_kept_once() {
    let key = |id: &str| Account::new(id, Credential::query("key", format!("key-{id}")).unwrap());
    let list = [account("a"), account("b"), key("c"), key("d")];
    let pool = Pool::builder().any_origin().accounts(list).build().unwrap();
    let roster = pool.shared().roster.load();
    assert_eq!((roster.places.headers.len(), roster.places.keys.len()), (1, 1));
}

#[test]
fn default_port_of_a_scheme_is_optional() {
    for (listed, spelled) in [
        ("http://api.example.com", "http://api.example.com:80/v1"),
        ("http://api.example.com:80", "http://api.example.com/v1"),
        ("ws://api.example.com", "ws://api.example.com:80/v1"),
        ("https://api.example.com", "https://api.example.com:443/v1"),
        ("wss://api.example.com", "wss://api.example.com:443/v1"),
    ] {
        let pool = Pool::builder().account(account("a")).origins([listed]).build().unwrap();
        let (mut parts, ()) = Request::get(spelled).body(()).unwrap().into_parts();
        assert_eq!(pick(&pool, &ANY).unwrap().apply(&mut parts), Ok(()), "{spelled}");
    }
}
