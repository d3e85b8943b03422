//! Conditions that hold in every interleaving of two concurrent operations.
//!
//! `RUSTFLAGS="--cfg failover_loom" cargo test --release --lib loom`. The atomics of the pool are the model
//! checker's; what holds the roster and the credentials together is not, so that a step there is one
//! step.

use std::sync::Arc;

use loom::{model::Builder, thread};

use super::support::*;
use crate::{
    classify::Reason,
    clock::Now,
    credential::Credential,
    pool::{State, account::Kind, select::Query},
};

/// Runs `f` in every interleaving with at most four preemptions: two threads need fewer for most of
/// what can go wrong between them.
fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(f);
}

/// Both at once.
fn both<A: Send + 'static, B: Send + 'static>(
    a: impl FnOnce() -> A + Send + 'static,
    b: impl FnOnce() -> B + Send + 'static,
) -> (A, B) {
    let other = thread::spawn(b);
    (a(), other.join().unwrap())
}

/// One account, a clock that stands, and what the reporter is reported.
fn alone() -> (Arc<Bench>, Reported) {
    let reported = Reported::default();
    (Arc::new(Bench::new(accounts(&["alice"]).reporter(reported.reporter()))), reported)
}

/// One account whose quarantine is over.
fn timers() -> (Arc<Bench>, Reported) {
    let reported = Reported::default();
    let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    reject(&bench, bench.pick().unwrap());
    assert_eq!(reported.take(), ["dead alice"]);
    bench.pass(secs(301));
    (Arc::new(bench), reported)
}

/// Whether this refusal was the one that counted.
fn reject(bench: &Bench, mut lease: Leased) -> bool {
    lease.sent();
    lease.rejected(Reason::Invalid, None, &mut bench.clock()).won
}

fn succeed(mut lease: Leased) {
    lease.sent();
    lease.succeeded(None);
}

/// The count of the living, the hint and the word say the same; and when all times are up, the
/// account serves, or is probed.
fn agrees(bench: &Bench, alive: bool) {
    assert_eq!(bench.pool.shared().alive(), i64::from(alive));
    let roster = bench.pool.shared().roster.load();
    let kind = roster.entries[0].state().kind();
    assert!(kind != Kind::Usable || roster.usable.has(0));
    assert_eq!(bench.pool.view().accounts[0].in_flight, 0);
    let later = bench.pool.pick(&ANY, &mut Now::at(bench.now + secs(100_000))).unwrap();
    assert!(later.still_good());
}

#[test]
fn rejection_of_one_generation_is_reported_once() {
    model(|| {
        let (bench, reported) = alone();
        let (one, two) = (bench.pick().unwrap(), bench.pick().unwrap());
        let here = Arc::clone(&bench);
        let there = Arc::clone(&bench);
        let (one, two) = both(move || reject(&here, one), move || reject(&there, two));
        assert!(one != two, "{one} and {two}");
        assert_eq!(reported.take(), ["dead alice"]);
        assert_eq!(bench.state("alice"), State::Quarantined);
        agrees(&bench, false);
    });
}

#[test]
fn rejections_of_two_accounts_make_one_the_last() {
    model(|| {
        let reported = Reported::default();
        let bench = Arc::new(Bench::new(accounts(&["a", "b"]).reporter(reported.reporter())));
        let (one, two) = (bench.pinned("a").unwrap(), bench.pinned("b").unwrap());
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let won = both(move || reject(&here, one), move || reject(&there, two));
        assert_eq!(won, (true, true));
        let reported = reported.take();
        assert!(
            reported == ["out a", "dead b"] || reported == ["out b", "dead a"] || {
                // Counted in one order, and reported in the other.
                reported == ["dead a", "out b"] || reported == ["dead b", "out a"]
            }
        );
        assert!(bench.pool.surely_dead());
    });
}

#[test]
fn rejection_and_invalidate_are_one_incident() {
    model(|| {
        let (bench, reported) = alone();
        let one = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let (one, two) = both(
            move || reject(&here, one),
            move || there.pool.invalidate("alice", Reason::Invalid),
        );
        assert!(one != two, "{one} and {two}");
        assert_eq!(reported.take(), ["dead alice"]);
        agrees(&bench, false);
    });
}

#[test]
fn account_removed_while_rejected_is_not_counted() {
    model(|| {
        let (bench, reported) = alone();
        let one = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let (won, removed) = both(move || reject(&here, one), move || there.pool.remove("alice"));
        assert!(removed);
        assert_eq!(reported.take().len(), usize::from(won));
        assert_eq!((bench.pool.shared().alive(), bench.pool.len()), (0, 0));
        bench.pick().unwrap_err();
    });
}

#[test]
fn probe_never_brings_back_a_retired_account() {
    model(|| {
        let (bench, _) = timers();
        let probe = bench.pick().unwrap();
        let there = Arc::clone(&bench);
        both(move || succeed(probe), move || there.pool.retire("alice"));
        assert_eq!(bench.state("alice"), State::Retired);
        assert_eq!(bench.pool.shared().alive(), 0);
        bench.pick().unwrap_err();
    });
}

#[test]
fn late_success_never_clears_a_rejection() {
    model(|| {
        let (bench, reported) = alone();
        let (one, two) = (bench.pick().unwrap(), bench.pick().unwrap());
        let here = Arc::clone(&bench);
        let (won, ()) = both(move || reject(&here, one), move || succeed(two));
        assert!(won);
        assert_eq!(reported.take(), ["dead alice"]);
        assert_eq!(bench.state("alice"), State::Quarantined);
        assert!(bench.pool.shared().roster.load().entries[0].state().is_proven());
        agrees(&bench, false);
    });
}

#[test]
fn late_success_never_shortens_a_cooldown() {
    model(|| {
        let (bench, _) = alone();
        let (mut one, two) = (bench.pick().unwrap(), bench.pick().unwrap());
        let here = Arc::clone(&bench);
        let limit = move || one.limited(None, Some(secs(60)), &mut here.clock());
        both(limit, move || succeed(two));
        assert_eq!(bench.state("alice"), State::Cooling);
        agrees(&bench, true);
    });
}

#[test]
fn longer_of_two_cooldowns_stands() {
    model(|| {
        let (bench, _) = alone();
        let (mut one, mut two) = (bench.pick().unwrap(), bench.pick().unwrap());
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        both(
            move || one.limited(None, Some(secs(60)), &mut here.clock()),
            move || two.limited(None, Some(secs(20)), &mut there.clock()),
        );
        let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
        assert_eq!(view.accounts[0].usable_in, Some(secs(60)));
        agrees(&bench, true);
    });
}

#[test]
fn late_401_leaves_the_new_token_alone() {
    model(|| {
        let (bench, reported) = alone();
        let old = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let new = || Credential::bearer("tok-of-alice-1").unwrap();
        let (generation, won) =
            both(move || here.pool.replace("alice", new()).unwrap(), move || reject(&there, old));
        assert_eq!(generation, 2);
        // Refused, then replaced: it was the last one, unless the new token was counted by then.
        let reported = reported.take();
        assert!(reported.len() == usize::from(won), "{reported:?}");
        assert_eq!(bench.state("alice"), State::Usable);
        agrees(&bench, true);
        let next = bench.pick().unwrap();
        assert!(next.still_good() && next.generation() == 2);
    });
}

#[test]
fn probe_is_given_to_one_of_two_requests() {
    model(|| {
        let (bench, _) = timers();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let (one, two) = both(move || here.pick().ok(), move || there.pick().ok());
        let probe = match (one, two) {
            (Some(probe), None) | (None, Some(probe)) => probe,
            other => panic!("{other:?}"),
        };
        assert!(probe.is_probe() && probe.still_good());
        assert_eq!(bench.state("alice"), State::Probing);
        drop(probe);
        assert_eq!(bench.state("alice"), State::Quarantined);
        agrees(&bench, false);
        assert!(bench.pick().unwrap().is_probe());
    });
}

#[test]
fn dropped_probe_lets_the_next_request_probe() {
    model(|| {
        let (bench, _) = timers();
        let mut probe = bench.pick().unwrap();
        probe.sent();
        let there = Arc::clone(&bench);
        let ((), next) = both(move || drop(probe), move || there.pick().ok());
        let next = next.unwrap_or_else(|| bench.pick().unwrap());
        assert!(next.is_probe() && next.still_good());
        succeed(next);
        assert_eq!(bench.state("alice"), State::Usable);
        agrees(&bench, true);
    });
}

#[test]
fn account_that_cools_or_wakes_is_not_lost() {
    model(|| {
        let (bench, _) = alone();
        let mut one = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        // Another request, to whose clock the rest is over already.
        let later = bench.now + secs(1);
        both(
            move || one.limited(None, Some(secs(1)), &mut here.clock()),
            move || {
                let lease = there.pool.pick(&ANY, &mut Now::at(later));
                lease.map(|lease| succeed(Leased::new(&there.pool, lease))).ok()
            },
        );
        agrees(&bench, true);
    });
}

#[test]
fn rejected_probe_allows_no_other_probe() {
    model(|| {
        let (bench, reported) = timers();
        let probe = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        let (won, other) = both(move || reject(&here, probe), move || there.pick().ok());
        assert!(!won && other.is_none(), "{other:?}");
        assert_eq!(reported.take(), Vec::<String>::new());
        assert_eq!(bench.state("alice"), State::Quarantined);
        agrees(&bench, false);
    });
}

#[test]
fn rejection_from_before_a_probe_never_undoes_its_healing() {
    model(|| {
        let reported = Reported::default();
        let mut bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
        let late = bench.pick().unwrap();
        reject(&bench, bench.pick().unwrap());
        bench.pass(secs(301));
        let bench = Arc::new(bench);
        let probe = bench.pick().unwrap();
        let there = Arc::clone(&bench);
        let ((), won) = both(move || succeed(probe), move || reject(&there, late));
        assert!(!won);
        assert_eq!(reported.take(), ["dead alice"]);
        assert_eq!(bench.state("alice"), State::Usable);
        agrees(&bench, true);
    });
}

#[test]
fn account_revived_while_rejected_is_counted_and_shown_once() {
    model(|| {
        let (bench, _) = alone();
        let one = bench.pick().unwrap();
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        both(move || reject(&here, one), move || there.pool.revive("alice"));
        let alive = bench.state("alice") == State::Usable;
        agrees(&bench, alive);
    });
}

#[test]
fn flag_of_model_cooldowns_is_never_lost() {
    model(|| {
        let (bench, _) = alone();
        let (mut one, two) = (bench.pick().unwrap(), bench.pick().unwrap());
        let (here, there) = (Arc::clone(&bench), Arc::clone(&bench));
        both(
            move || one.limited(Some("m1"), Some(secs(60)), &mut here.clock()),
            move || reject(&there, two),
        );
        let state = bench.pool.shared().roster.load().entries[0].state();
        assert!(state.has_model_cooldowns());
        assert_eq!(state.kind(), Kind::Quarantined);
        agrees(&bench, false);
    });
}

#[test]
fn flag_and_table_of_model_cooldowns_agree() {
    model(|| {
        let mut bench = Bench::new(accounts(&["alice"]));
        let m1 = Query { model: Some("m1"), ..ANY };
        bench.pool.cool_down("alice", Some("m1"), secs(5));
        bench.pass(secs(6));
        let (mut one, two) = (bench.pick().unwrap(), bench.query(&m1).unwrap());
        let bench = Arc::new(bench);
        let here = Arc::clone(&bench);
        both(
            move || one.limited(Some("m2"), Some(secs(60)), &mut here.clock()),
            // Its success ends the rest of the one model that is kept.
            move || succeed(two),
        );
        assert!(bench.pool.shared().roster.load().entries[0].state().has_model_cooldowns());
        assert!(bench.query(&Query { model: Some("m2"), ..ANY }).is_err());
        bench.query(&m1).unwrap();
        agrees(&bench, true);
    });
}
