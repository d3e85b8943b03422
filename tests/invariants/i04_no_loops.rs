//! I4: a request never visits the same (model, generation) twice except as a retry; it ends.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tower_failover::{Event, report::Followed};

use super::{
    runner::{Runner, played},
    stack::{Layer, Promises, stack},
    world::world,
};

/// Returns repeated visits of a credential that have no retry between them.
fn loops(runner: &Runner<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in runner.ends.keys() {
        let events = runner.reports(*id);
        let Some(record) = events.first().and_then(Event::record) else { continue };
        let attempts = runner.attempts(*id);
        for (i, first) in attempts.iter().enumerate() {
            let again = attempts[i + 1..].iter().position(|later| {
                (later.credential, later.model()) == (first.credential, first.model())
            });
            let Some(again) = again.map(|at| i + 1 + at) else { continue };
            let retried = |line: &tower_failover::report::Attempt| {
                matches!(line.followed, Followed::Retried(_))
            };
            let between = record.trail.iter().take(again).skip(i);
            if !between.clone().any(retried) {
                wrong.push(format!("request {id}: attempts {i} and {again}: {between:?}"));
            }
        }
    }
    wrong
}

/// Returns accounts that were rejected more often than twice: with their credential and once with
/// the next one.
fn replayed(runner: &Runner<'_>, promises: &Promises<'_>) -> Vec<String> {
    let mut rejected: BTreeMap<_, usize> = BTreeMap::new();
    let rejections = runner
        .upstream
        .log()
        .into_iter()
        .filter(|sent| sent.answered() && sent.verdict.is_unauthorized());
    for sent in rejections {
        let tries = if promises.tries_are_requests() { sent.foreign } else { 0 };
        let Some(credential) = sent.credential else { continue };
        *rejected.entry((sent.id, tries, credential.pool, credential.account)).or_default() += 1;
    }
    rejected.into_iter().filter(|(_, count)| *count > 2).map(|one| format!("{one:?}")).collect()
}

proptest! {
    #[test]
    fn i04_no_loops(world in world(), stack in stack()) {
        let promises = Promises(&stack);
        let tries = |layer: &Layer| match layer {
            Layer::Foreign(tries) => *tries as usize + 1,
            _ => 1,
        };
        let foreign: usize = stack.iter().map(tries).product();
        let (loops, replayed, counts) = played(&world, &stack, |runner| {
            let counts: Vec<_> = runner.ends.keys().map(|id| runner.attempts(*id).len()).collect();
            (loops(runner), replayed(runner, &promises), counts)
        });
        if promises.exactly_once() && !promises.foreign() {
            prop_assert_eq!(loops, Vec::<String>::new());
        }
        if promises.no_retry_on_401(false) {
            prop_assert_eq!(replayed, Vec::<String>::new());
        }
        for (plan, count) in world.requests().iter().zip(counts) {
            let most = plan.attempts.map_or(world.plan.attempts, |most| most.min(world.plan.attempts));
            prop_assert!(count <= most as usize * foreign, "{count} attempts");
        }
    }
}
