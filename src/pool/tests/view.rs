//! The view of the pool, and the reports about its accounts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::{
    sources::{Play, Script},
    support::*,
};
use crate::{
    classify::Reason,
    clock::{Now, wall},
    credential::{Account, Credential, Expires},
    pool::*,
};

/// The first account, as it is shown.
fn shown(bench: &Bench) -> AccountView {
    crate::pool::view::view(bench.pool.shared(), &mut bench.clock()).accounts.swap_remove(0)
}

#[test]
fn each_reason_is_shown_as_it_is() {
    for reason in REASONS {
        let pool = accounts(&["a"]).build().unwrap();
        assert!(pool.invalidate("a", reason));
        assert_eq!(pool.view().accounts[0].reason, Some(reason));
    }
}

#[test]
fn out_of_quota_is_shown_only_for_a_missing_quota() {
    let mut bench = Bench::new(accounts(&["a"]));
    let look = |bench: &Bench| {
        let view = shown(bench);
        (view.state, view.out_of_quota, view.usable_in)
    };
    assert_eq!(look(&bench), (State::Usable, false, None));
    bench.pick().unwrap().limited(None, Some(secs(10)), &mut bench.clock());
    assert_eq!(look(&bench), (State::Cooling, false, Some(secs(10))));
    bench.pass(secs(10));
    bench.pick().unwrap().out_of_quota(Some(secs(20)), None, &mut bench.clock());
    assert_eq!(look(&bench), (State::Cooling, true, Some(secs(20))));
    bench.pass(secs(20));
    assert_eq!(look(&bench), (State::Usable, false, None), "it is over");
    assert_eq!(bench.order(1), ["a"]);
    assert_eq!(look(&bench), (State::Usable, false, None), "and taken off");
}

#[tokio::test(start_paused = true)]
async fn refreshing_account_shows_the_time_of_the_next_call() {
    let account = Account::from_source("a", Script::new([Play::Fail]));
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    let look = || {
        let view = pool.view().accounts.swap_remove(0);
        (view.state, view.usable_in)
    };
    assert_eq!(look(), (State::Refreshing, None), "nobody has asked it");
    assert!(pool.pick(&ANY, &mut Now::unread()).is_err());
    assert_eq!(look(), (State::Refreshing, None), "it is being asked");
    sleep(secs(1)).await;
    tokio::task::yield_now().await;
    let (state, until) = look();
    assert_eq!(state, State::Refreshing);
    let until = until.expect("it has failed").as_millis();
    assert!((500..=600).contains(&until), "{until}");
}

#[test]
fn pool_that_stays_dead_is_not_reported_as_recovered() {
    let well = Arc::new(AtomicUsize::new(0));
    let reported = well.clone();
    let count = move || {
        reported.fetch_add(1, Ordering::SeqCst);
    };
    let mut bench = Bench::new(accounts(&["a"]).on_recovered(count));
    assert!(bench.pool.invalidate("a", Reason::Invalid));
    bench.pass(secs(301));
    bench.pick().unwrap().inconclusive();
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    assert_eq!(well.load(Ordering::SeqCst), 0);
    bench.pass(secs(601));
    bench.pick().unwrap().succeeded(None);
    assert_eq!(well.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn expiry_warning_is_not_reported_after_the_expiry() {
    let reported = Reported::default();
    // The clock that set a date may be behind: it is sent for a minute more.
    let ends = Expires::At(wall() + secs(100));
    let builder = Pool::builder().any_origin().account(account("a").expires(ends));
    let pool =
        builder.expiry_warnings([Duration::ZERO]).reporter(reported.reporter()).build().unwrap();
    sleep(secs(101)).await;
    assert_eq!(pool.view().accounts[0].state, State::Usable);
    assert!(reported.events().is_empty());
    sleep(secs(60)).await;
    assert_eq!(reported.take(), ["dead a"]);
}

#[test]
fn out_of_quota_is_reported_again_after_a_limit_or_its_cooldown() {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["a"]).reporter(reported.reporter()));
    let mut flying: Vec<_> = (0..4).map(|_| bench.pick().unwrap()).collect();
    flying[0].limited(None, Some(secs(60)), &mut bench.clock());
    assert!(reported.take().is_empty());
    flying[1].out_of_quota(Some(secs(60)), None, &mut bench.clock());
    assert_eq!(reported.take(), ["out a"], "though it rests already");
    bench.pass(secs(59));
    flying[2].out_of_quota(Some(secs(5)), None, &mut bench.clock());
    assert!(reported.take().is_empty(), "a longer rest is the same incident");
    bench.pass(secs(5));
    flying[3].out_of_quota(Some(secs(5)), None, &mut bench.clock());
    assert_eq!(reported.take(), ["out a"], "the rest was over");
}

#[test]
fn late_answer_keeps_no_request_waiting() {
    let mut bench = Bench::new(accounts(&["a"]));
    let reject = |bench: &Bench, lease: &mut Leased| {
        lease.rejected(Reason::Invalid, None, &mut bench.clock()).rest
    };
    let mut flying: Vec<_> = (0..2).map(|_| bench.pick().unwrap()).collect();
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    assert_eq!(reject(&bench, &mut flying[0]), secs(300));
    // Healed by a probe since, and resting for another reason.
    bench.pass(secs(300));
    bench.pick().unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    assert_eq!(reject(&bench, &mut flying[1]), Duration::ZERO);
    // Replaced since.
    bench.pass(secs(60));
    let mut old = bench.pick().unwrap();
    bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
    bench.pool.replace("a", Credential::bearer("tok-new").unwrap()).unwrap();
    assert_eq!(reject(&bench, &mut old), Duration::ZERO);
}
