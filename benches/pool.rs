//! The cost of selecting and releasing an account, without a request.
//!
//! Unit: nanoseconds for one selection. The baseline is `round_robin` with one account: 100,000
//! accounts, and 100,000 of which 1 % are usable, must not cost more.

#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

mod support;

use std::time::Duration;

use divan::{Bencher, black_box};
use support::stacks::{self, accounts};
use tokio::time::Instant;
use tower_failover::{Pool, Reason, pool::Selection, testing::choose};

fn main() {
    support::main();
}

fn time(bencher: Bencher<'_, '_>, pool: &Pool) {
    // The driver reads the clock when the request starts; a selection does not read it again.
    let now = Instant::now();
    bencher.bench_local(|| assert!(choose(black_box(pool), now)));
}

fn built(n: usize, choose: Selection) -> Pool {
    accounts(n).selection(choose).build().unwrap()
}

/// One account in a hundred is usable; half of the others are rejected, half are cooling.
fn sparse(choose: Selection) -> Pool {
    let pool = built(100_000, choose);
    for i in (0..100_000).filter(|i| i % 100 != 50) {
        let id = stacks::id(i);
        assert!(match i % 2 {
            0 => pool.invalidate(&id, Reason::Invalid),
            _ => pool.cool_down(&id, None, Duration::from_secs(3600)),
        });
    }
    pool
}

#[divan::bench(args = [1, 8, 100_000])]
fn round_robin(bencher: Bencher<'_, '_>, n: usize) {
    time(bencher, &built(n, Selection::RoundRobin));
}

/// 1 % of 100,000 accounts are usable.
#[divan::bench]
fn round_robin_sparse(bencher: Bencher<'_, '_>) {
    time(bencher, &sparse(Selection::RoundRobin));
}

#[divan::bench(args = [8, 100_000])]
fn least_in_flight(bencher: Bencher<'_, '_>, n: usize) {
    time(bencher, &built(n, Selection::LeastInFlight));
}

#[divan::bench(args = [8, 100_000])]
fn weighted(bencher: Bencher<'_, '_>, n: usize) {
    time(bencher, &built(n, Selection::Weighted));
}

#[divan::bench(args = [8, 100_000])]
fn fill_first(bencher: Bencher<'_, '_>, n: usize) {
    time(bencher, &built(n, Selection::FillFirst));
}

#[divan::bench(args = [8, 100_000])]
fn most_remaining(bencher: Bencher<'_, '_>, n: usize) {
    time(bencher, &built(n, Selection::MostRemaining));
}
