//! The limits for the figures, beside the measurements.

use crate::rounds::Row;

/// One limit.
pub struct Bar {
    pub what: &'static str,
    pub measured: Option<f64>,
    pub at_most: f64,
    /// Whether it is a count of allocations, which does not vary between runs.
    pub exact: bool,
}

impl Bar {
    pub fn is_met(&self) -> Option<bool> {
        // The slack allows for a buffer that grew once in a thousand calls.
        let slack = if self.exact { 0.001 } else { 0.0 };
        self.measured.map(|measured| measured <= self.at_most + slack)
    }
}

/// Returns all limits with the measurements from `rows` and `slower`.
pub fn bars(rows: &[Row], slower: &[(&str, f64)]) -> Vec<Bar> {
    let row = |case: &str, stack: &str| rows.iter().find(|r| r.case == case && r.stack == stack);
    let share = |case, stack| row(case, stack).and_then(|row| row.of_one_clone);
    let allocs = |case, stack| row(case, stack).map(|row| row.allocs);
    let ns = |case, stack| row(case, stack).map(|row| row.ns);
    let against =
        |case| Some(row(case, "failover")?.added_ns / row(case, "nested-tower")?.added_ns);
    let copied = |case| row(case, "failover").map(|row| row.bytes / f64::from(64 << 10));
    let choice = |case| Some(ns(case, "failover")? / ns("choose-1", "failover")?);
    let both = || Some((against("401-200")? * against("503-200")?).sqrt());
    let lost = |stack: &str| slower.iter().find(|(name, _)| *name == stack).map(|(_, by)| *by);
    let time = |what, measured, at_most| Bar { what, measured, at_most, exact: false };
    let exact = |what, measured, at_most| Bar { what, measured, at_most, exact: true };
    vec![
        time("ok, all on: of one clone", share("ok", "failover"), 0.60),
        exact("ok, all on: allocations", allocs("ok", "failover"), 0.0),
        exact("ok-fresh, all on: allocations", allocs("ok-fresh", "failover"), 1.0),
        time("ok, separate layers: of one clone", share("ok", "failover-stacked"), 2.2),
        exact("ok, separate layers: allocations", allocs("ok", "failover-stacked"), 4.0),
        time("nothing-to-resend: of one clone", share("nothing-to-resend", "failover"), 0.30),
        exact("nothing-to-resend: allocations", allocs("nothing-to-resend", "failover"), 0.0),
        time("401-200 and 503-200: of nested tower, geometric mean", both(), 0.55),
        time("401-529-503-200: of nested tower", against("401-529-503-200"), 0.35),
        time("64 KiB, model first: of nested tower", against("529-200-64k-first"), 1.0 / 20.0),
        time("64 KiB, model last: of nested tower", against("529-200-64k-last"), 1.0 / 6.0),
        exact(
            "64 KiB, model first: bytes allocated, of the body",
            copied("529-200-64k-first"),
            1.1,
        ),
        exact("64 KiB, model last: bytes allocated, of the body", copied("529-200-64k-last"), 1.1),
        time(
            "rejected: of a bare call",
            quotient(ns("rejected", "failover"), ns("rejected", "bare")),
            2.0,
        ),
        time("choose, 100,000 accounts: of 1", choice("choose-100000"), 1.5),
        time("choose, 1 % of 100,000 usable: of 1", choice("choose-100000-sparse"), 1.5),
        time("two threads: of what bare loses", quotient(lost("failover"), lost("bare")), 1.06),
    ]
}

fn quotient(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}
