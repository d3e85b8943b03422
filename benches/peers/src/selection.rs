//! Selects and releases an account, without a request.

use std::{hint::black_box, time::Duration};

use tower_failover::{Pool, Reason, testing};

use crate::{
    count,
    rounds::{Row, median},
    stacks::failover,
};

const CALLS: u32 = 2000;

/// Measures 1 account, 100,000, and 100,000 of which one in a hundred is usable.
pub fn rows(rounds: usize) -> Vec<Row> {
    let sparse = failover::pool(100_000);
    for i in (0..100_000).filter(|i| i % 100 != 50) {
        // Half of them are rejected, half are cooling.
        let id = format!("account-{i}");
        let out = match i % 2 {
            0 => sparse.invalidate(&id, Reason::Invalid),
            _ => sparse.cool_down(&id, None, Duration::from_secs(3600)),
        };
        assert!(out);
    }
    let pools = [
        ("choose-1", failover::pool(1)),
        ("choose-100000", failover::pool(100_000)),
        ("choose-100000-sparse", sparse),
    ];
    let mut taken = [const { Vec::new() }; 3];
    let mut allocs = [(0, 0); 3];
    for round in 0..rounds + rounds / 10 {
        for i in 0..3 {
            let i = (i + round) % 3;
            let (ns, counted) = one(&pools[i].1);
            if round >= rounds / 10 {
                taken[i].push(ns);
                allocs[i] = counted;
            }
        }
    }
    let row = |i: usize| {
        let ns = median(taken[i].iter().copied());
        let each = |n: u64| n as f64 / f64::from(CALLS);
        Row {
            case: pools[i].0,
            stack: "failover",
            ns,
            added_ns: ns,
            of_one_clone: None,
            allocs: each(allocs[i].0),
            bytes: each(allocs[i].1),
        }
    };
    (0..3).map(row).collect()
}

fn one(pool: &Pool) -> (f64, (u64, u64)) {
    // The driver reads the clock when the request starts; a selection does not read it again.
    let now = tokio::time::Instant::now();
    let before = count::so_far();
    let start = std::time::Instant::now();
    for _ in 0..CALLS {
        assert!(testing::choose(black_box(pool), now));
    }
    let time = start.elapsed();
    let after = count::so_far();
    (time.as_secs_f64() * 1e9 / f64::from(CALLS), (after.0 - before.0, after.1 - before.1))
}
