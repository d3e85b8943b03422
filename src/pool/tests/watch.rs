//! The warnings and hooks of a pool.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::support::*;
use crate::{
    classify::Reason,
    clock::Now,
    credential::{Account, Credential, Expires, RefreshReason, SourceError, Token},
    pool::*,
    report::{Event, OutReason, TokenEventKind},
};

fn ends(id: &str, left: u64) -> Account {
    account(id).expires(Expires::In(secs(left)))
}

/// The reports of expiring credentials, in seconds before the expiry.
fn leads(reported: &Reported) -> Vec<u64> {
    let events = reported.events();
    let of = |event: &Event| match event {
        Event::Token(event) => match event.kind {
            TokenEventKind::Expiring { expires_in, .. } => expires_in.as_secs(),
            _ => panic!("{event:?}"),
        },
        Event::AccountOut(out) => {
            assert_eq!((out.reason, out.out_for), (OutReason::Expired, Duration::MAX));
            0
        }
        Event::PoolDead(dead) => {
            assert_eq!(dead.cause.reason, OutReason::Expired);
            0
        }
        other => panic!("{other:?}"),
    };
    events.iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn credential_without_a_source_is_reported_at_each_lead_and_at_expiry() {
    let reported = Reported::default();
    let builder =
        Pool::builder().any_origin().account(ends("a", 7200)).reporter(reported.reporter());
    let pool = builder.build().unwrap();
    sleep(secs(3500)).await;
    assert!(leads(&reported).is_empty());
    sleep(secs(3690)).await;
    assert_eq!(leads(&reported), [3600, 600]);
    sleep(secs(1000)).await;
    assert_eq!(leads(&reported), [0]);
    sleep(secs(100_000)).await;
    assert!(leads(&reported).is_empty());
    assert_eq!(pool.view().accounts[0].state, State::Retired);
    // The next one is reported of anew; of leads that have passed, the shortest alone.
    let next = Credential::bearer("next").unwrap();
    pool.replace_until("a", next, Expires::In(secs(300))).unwrap();
    sleep(secs(1)).await;
    assert_eq!(leads(&reported).len(), 1);
    sleep(secs(301)).await;
    assert_eq!(leads(&reported), [0]);
}

#[tokio::test(start_paused = true)]
async fn expiry_warnings_are_configurable_and_not_for_sources() {
    let reported = Reported::default();
    let source = |_: RefreshReason| async { Err::<Token, _>(SourceError::transient("down")) };
    let builder = Pool::builder()
        .any_origin()
        .accounts([ends("a", 100), ends("b", 100).source(source), account("c")])
        .expiry_warnings([secs(5), secs(50), secs(5)])
        .reporter(reported.reporter());
    let pool = builder.build().unwrap();
    sleep(secs(200)).await;
    assert_eq!(leads(&reported), [50, 5, 0]);
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn expiry_task_ends_with_the_pool() {
    let pool = Pool::builder().any_origin().account(ends("a", 7200)).build().unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    sleep(secs(1)).await;
    assert_eq!(tasks(), 1);
    let flying =
        pool.pick(&ANY, &mut Now::unread()).map(|lease| Leased::new(&pool, lease)).unwrap();
    drop(pool);
    sleep(secs(1)).await;
    assert_eq!(tasks(), 0);
    drop(flying);
}

#[tokio::test(start_paused = true)]
async fn pool_without_expiries_has_no_task() {
    let _pool = accounts(&["a", "b"]).build().unwrap();
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[test]
fn hooks_are_called_once_for_death_and_once_for_recovery() {
    let (dead, well) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        move || {
            count.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (died, lives) = (count(&dead), count(&well));
    let pool = accounts(&["a", "b"])
        .on_dead(move |dead| {
            assert_eq!(dead.accounts, 2);
            died();
        })
        .on_recovered(move || {
            lives();
            panic!("a hook that panics");
        });
    let bench = Bench::new(pool);
    let now = || [dead.load(Ordering::SeqCst), well.load(Ordering::SeqCst)];
    assert!(bench.pool.invalidate("a", Reason::Invalid));
    assert_eq!(now(), [0, 0]);
    assert!(bench.pool.invalidate("b", Reason::Invalid));
    assert_eq!(now(), [1, 0]);
    bench.pool.revive("a");
    bench.pool.replace("b", Credential::bearer("new").unwrap()).unwrap();
    assert_eq!(now(), [1, 1]);
    // A probe that heals counts as well.
    assert!(bench.pool.remove("b") && bench.pool.insert(account("b")).is_ok());
    assert!(bench.pool.invalidate("a", Reason::Invalid));
    assert!(bench.pool.invalidate("b", Reason::Invalid));
    assert_eq!(now(), [2, 1]);
    let mut later = bench;
    later.pass(secs(1000));
    let mut probe = later.pick().unwrap();
    probe.sent();
    probe.succeeded(None);
    assert_eq!(now(), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn wait_ready_fails_at_once_for_a_pool_that_cannot_recover() {
    let pool = accounts(&["a"]).build().unwrap();
    assert_eq!(pool.wait_ready().await, Ok(()));
    pool.invalidate("a", Reason::Revoked);
    let code = pool.wait_ready().await.unwrap_err().code;
    assert_eq!(code, crate::classify::Code::CredentialRevoked);
}

#[tokio::test(start_paused = true)]
async fn changes_are_streamed() {
    let source = |_: RefreshReason| async {
        sleep(secs(1)).await;
        Ok::<_, SourceError>(Token::new("t1"))
    };
    let pool = Pool::builder().any_origin().account(Account::from_source("a", source));
    let pool = pool.build().unwrap();
    let mut changes = pool.changes();
    let mut state = async || changes.next().await.unwrap().accounts[0].state;
    assert_eq!(state().await, State::Refreshing);
    let _ = pool.pick(&ANY, &mut Now::unread()).map(|lease| Leased::new(&pool, lease));
    assert_eq!(state().await, State::Refreshing);
    assert_eq!(state().await, State::Usable);
    pool.retire("a");
    assert_eq!(state().await, State::Retired);
    drop(pool);
    assert_eq!(changes.next().await, None);
    assert_eq!(changes.next().await, None);
}
