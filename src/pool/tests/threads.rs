//! Conditions that hold when many threads act at once.

use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::support::*;
use crate::{
    classify::Reason,
    credential::Credential,
    pool::{Selection, State},
};

const THREADS: usize = 4;

/// Runs `f` on each thread, all at once.
fn together(f: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for i in 0..THREADS {
            let (f, barrier) = (&f, &barrier);
            scope.spawn(move || {
                barrier.wait();
                f(i);
            });
        }
    });
}

#[test]
fn due_account_is_probed_by_exactly_one_request() {
    for _ in 0..200 {
        let mut bench = Bench::new(accounts(&["alice"]));
        bench.pick().unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
        bench.pass(secs(301));
        let held = std::sync::Mutex::new(Vec::new());
        together(|_| held.lock().unwrap().extend(bench.pick()));
        let held = held.into_inner().unwrap();
        assert_eq!(held.len(), 1);
        assert!(held[0].is_probe());
    }
}

#[test]
fn death_of_a_pool_is_reported_once() {
    for _ in 0..200 {
        let reported = Reported::default();
        let bench = Bench::new(accounts(&["a", "b", "c"]).reporter(reported.reporter()));
        let won = AtomicUsize::new(0);
        together(|_| {
            let lease: Vec<_> = ["a", "b", "c"].map(|id| bench.pinned(id)).into();
            for mut one in lease.into_iter().flatten() {
                let rejection = one.rejected(Reason::Invalid, None, &mut bench.clock());
                won.fetch_add(usize::from(rejection.won), Ordering::Relaxed);
            }
        });
        assert_eq!(won.into_inner(), 3);
        let mut events = reported.take();
        events.sort_by_key(|event| !event.starts_with("dead"));
        assert_eq!(events.len(), 3);
        assert_eq!(events.iter().filter(|event| event.starts_with("dead")).count(), 1);
        assert!(bench.pool.surely_dead());
    }
}

#[test]
fn turns_are_fair_across_threads() {
    let bench = Bench::new(accounts(&["a", "b", "c", "d", "e"]));
    let counts = std::sync::Mutex::new(HashMap::<String, usize>::new());
    together(|_| {
        for id in bench.order(1000) {
            *counts.lock().unwrap().entry(id).or_default() += 1;
        }
    });
    let counts = counts.into_inner().unwrap();
    assert!(counts.values().all(|count| *count == THREADS * 200), "{counts:?}");
}

#[test]
fn account_is_never_lost_under_concurrent_changes() {
    for choose in [Selection::RoundRobin, Selection::LeastInFlight] {
        let ids: Vec<String> = (0..100).map(|i| format!("a{i}")).collect();
        let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut bench = Bench::new(accounts(&refs).selection(choose));
        together(|thread| {
            for round in 0..300_usize {
                let id = &ids[(round * 7 + thread * 13) % ids.len()];
                match (thread, round % 20) {
                    (0, 3) => {
                        let new = Credential::bearer(format!("tok-{round}-x")).unwrap();
                        bench.pool.replace(id, new).unwrap();
                    }
                    (1, 5) => {
                        bench.pool.insert(account(&format!("extra-{round}"))).unwrap();
                    }
                    (1, 9) => {
                        bench.pool.remove(&format!("extra-{}", round - 4));
                    }
                    (2, 7) => {
                        bench.pool.revive(id);
                    }
                    _ => {}
                }
                let lease = bench.pick().or_else(|_| bench.pinned(id));
                let Ok(mut lease) = lease else { continue };
                match (round + thread) % 7 {
                    0 => drop(lease.rejected(Reason::Invalid, None, &mut bench.clock()).won),
                    1 => {
                        lease.limited(None, Some(secs(1 + round as u64 % 50)), &mut bench.clock());
                    }
                    2 => lease.out_of_quota(None, None, &mut bench.clock()),
                    _ => lease.succeeded(None),
                }
            }
        });
        // However it went: when all times are up, everybody serves, and the counts are right.
        bench.pass(secs(100_000));
        assert_eq!(bench.pool.len(), 100);
        let served: std::collections::BTreeSet<_> = bench.order(1500).into_iter().collect();
        assert_eq!(served.len(), 100, "{choose:?}");
        let shared = bench.pool.shared();
        assert_eq!(shared.alive(), 100);
        assert!(ids.iter().all(|id| bench.state(id) == State::Usable));
        assert!(bench.pool.view().accounts.iter().all(|account| account.in_flight == 0));
    }
}

#[test]
fn credential_is_rejected_at_most_once_a_generation() {
    for _ in 0..50 {
        let reported = Reported::default();
        let bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
        let replaced = AtomicUsize::new(1);
        together(|thread| {
            for round in 0..50 {
                if thread == 0 {
                    let new = Credential::bearer(format!("tok-{round}")).unwrap();
                    bench.pool.replace("alice", new).unwrap();
                    replaced.fetch_add(1, Ordering::Relaxed);
                } else if let Ok(mut lease) = bench.pick() {
                    lease.rejected(Reason::Invalid, None, &mut bench.clock());
                }
            }
        });
        let events = reported.take();
        assert!(events.len() <= replaced.into_inner());
        // A refusal and a replacement at once may end in either order; the last word is `dead`.
        let deaths = events.iter().filter(|event| *event == "dead alice").count();
        let dead = bench.state("alice") == State::Quarantined;
        assert_eq!(bench.pool.shared().alive(), i64::from(!dead));
        assert!(deaths * 2 >= events.len() && (deaths > 0 || !dead), "{events:?}");
    }
}
