//! Compares the table of defaults in the docs with the code.

#![allow(clippy::unwrap_used)] // A test that panics has failed.

use std::time::Duration;

use crate::{
    body::Buffered,
    driver::Settings,
    pool::Pool,
    stage::{
        retry::{Backoff, Budget, Cost, RetryPolicy, TokenBucket},
        rotation::Rotation,
    },
};

fn shown(time: Duration) -> String {
    match (time.as_secs(), time.subsec_millis()) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) => format!("{seconds} s"),
        _ => format!("{time:?}"),
    }
}

fn rows() -> Vec<String> {
    let settings = Settings::default();
    let policy = RetryPolicy::new();
    let retry = &policy.settings;
    let pool = Pool::builder().may_be_empty().any_origin().build().unwrap();
    let refusals = Rotation::new(pool).max_refusals;
    assert_eq!(retry.backoff, Backoff::DEFAULT);
    let backoff = |n| shown(retry.backoff.delay(n, 1.0));
    assert_eq!(retry.backoff.delay(2, 1.0), 2 * retry.backoff.delay(1, 1.0));
    assert_eq!(retry.backoff.delay(9, 0.0), Duration::ZERO, "full jitter");
    let bucket = TokenBucket::default();
    let tokens = bucket.tokens();
    let costs = [Cost::Retry, Cost::Timeout, Cost::Limited].map(|cost| bucket.withdraw(cost));
    assert_eq!(costs[1..], [costs[0], costs[0]]);
    let before = bucket.tokens();
    bucket.succeeded(None);
    let kept = Buffered::default().cap();
    vec![
        format!(
            "| attempts in all; retries; refusals (`max_refusals`) | {}; {}; {refusals} a request |",
            settings.attempts, retry.retries,
        ),
        format!(
            "| backoff; `max_wait`; deadline | {} doubling to {}, full jitter; {}; {} |",
            backoff(1),
            backoff(99),
            shown(retry.max_wait),
            shown(settings.deadline),
        ),
        format!(
            "| retry budget, shared by the service | {tokens} tokens; a retry costs {}, a success at the first try gives {} back |",
            costs[0].unwrap(),
            bucket.tokens() - before,
        ),
        format!(
            "| error body read | {} KiB; {} |",
            settings.peek.bytes / 1024,
            shown(settings.peek.time)
        ),
        format!("| request body kept (`Buffered`) | {} MiB |", kept / 1024 / 1024),
    ]
}

#[test]
fn defaults_in_the_docs_are_those_of_the_code() {
    let readme = include_str!("../../../README.md");
    let (_, table) = readme.split_once("## Defaults\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let listed: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let rows = rows();
    for row in &rows {
        assert!(listed.contains(&row.as_str()), "{row}\nis not in\n{table}");
    }
    // The other rows are the pool's and have a test of their own.
    assert_eq!(listed.len(), rows.len() + 4, "a default without a test");
}
