//! I3: attempts, waits, wall clock and kept bytes are bounded for the whole request, however many
//! layers resend.

use std::time::Duration;

use proptest::prelude::*;
use tower_failover::report::Followed;

use super::{
    runner::{Runner, paused},
    stack::{FUSED, Layer, STACKED, stack},
    upstream::Sent,
    world::{RequestPlan, World, world},
};

/// The longest backoff and server delay of a retry in these worlds.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Returns the smallest attempt limit of the resending layers and the request.
fn attempts(world: &World, stack: &[Layer], plan: &RequestPlan) -> usize {
    let limits = stack.iter().zip(world.plan.limits.iter().cycle());
    let limits = limits.filter(|(layer, _)| layer.resends()).map(|(_, limit)| *limit);
    limits.chain(plan.attempts).min().unwrap_or(1) as usize
}

/// Returns how long after its start a request may start attempts.
pub(crate) fn deadline(world: &World, stack: &[Layer], plan: &RequestPlan) -> Option<Duration> {
    let limits = stack.iter().zip(world.plan.deadlines.iter().cycle());
    let limits = limits.filter(|(layer, _)| layer.resends()).map(|(_, limit)| *limit);
    limits.chain(plan.deadline).min().map(Duration::from_millis)
}

/// Returns what is wrong with the attempts of one request.
fn wrong(
    runner: &Runner<'_>,
    stack: &[Layer],
    id: u32,
    plan: &RequestPlan,
    since: tokio::time::Instant,
) -> Option<String> {
    let sent = runner.attempts(id);
    let most = attempts(runner.world, stack, plan);
    if sent.len() > most {
        return Some(format!("request {id}: {} attempts of {most}", sent.len()));
    }
    let deadline = deadline(runner.world, stack, plan)?;
    let late = |sent: &&Sent| sent.at.duration_since(since) > deadline;
    // The deadline does not apply to the first attempt.
    let late = sent.iter().skip(1).find(late)?;
    Some(format!("request {id}: attempt {} after {:?} of {deadline:?}", late.n, late.at - since))
}

/// Returns what is wrong with the waits of one request.
fn waits(runner: &Runner<'_>, id: u32) -> Option<String> {
    let events = runner.reports(id);
    let record = events.first()?.record()?;
    let waited = record.trail.iter().filter_map(|line| match line.followed {
        Followed::Retried(wait) => Some(wait),
        _ => None,
    });
    let too_long = waited.clone().find(|wait| *wait > MAX_WAIT)?;
    Some(format!("request {id}: waited {too_long:?} in {:?}", record.trail))
}

/// Gives each layer its own limits.
fn limited() -> impl Strategy<Value = World> {
    let deadlines = || proptest::sample::select(vec![60_000, 60_000, 5_000, 800, 0]);
    let limits = [1..7_u32, 1..7_u32, 1..7_u32];
    (world(), limits, [deadlines(), deadlines(), deadlines()]).prop_map(
        |(mut world, limits, deadlines)| {
            (world.plan.limits, world.plan.deadlines) = (limits, deadlines);
            // One request at a time, so that the start of each is known.
            for round in &mut world.rounds {
                let steps = |plan: &mut RequestPlan| {
                    plan.script = plan.script.iter().cycle().take(12).copied().collect();
                };
                round.requests.iter_mut().for_each(steps);
                round.requests.truncate(1);
                round.requests.iter_mut().for_each(|request| request.after = 0);
                round.changes.clear();
            }
            world
        },
    )
}

fn all_wrong(world: &World, stack: &[Layer]) -> Vec<String> {
    paused(async {
        let mut runner = Runner::new(world, stack);
        let mut all = Vec::new();
        for round in &world.rounds {
            let since = tokio::time::Instant::now();
            runner.round(round).await;
            let id = *runner.ends.keys().last().unwrap();
            let plan = &round.requests[0];
            all.extend(wrong(&runner, stack, id, plan, since));
            all.extend(waits(&runner, id));
        }
        all
    })
}

proptest! {
    #[test]
    fn i03_one_budget(world in limited(), stack in stack()) {
        let foreign = |layer: &Layer| matches!(layer, Layer::Foreign(_) | Layer::Buffer | Layer::Limit);
        let layers: Vec<Layer> = stack.into_iter().filter(|layer| !foreign(layer)).collect();
        // The documented stacks, and any others.
        for stack in [FUSED, STACKED, &layers] {
            prop_assert_eq!(all_wrong(&world, stack), Vec::<String>::new(), "{:?}", stack);
        }
    }

    #[test]
    fn i03_stack_costs_at_most_the_sum_of_its_layers(
        mut world in limited(),
        above in proptest::collection::vec(proptest::sample::select(vec![Layer::Fallback, Layer::Retry, Layer::Rotation(1)]), 1..3),
        below in proptest::collection::vec(proptest::sample::select(vec![Layer::Fallback, Layer::Retry, Layer::Rotation(0), Layer::Fused(0, false)]), 1..3),
    ) {
        let stack = [above.as_slice(), &[Layer::Hide], &below].concat();
        for request in world.rounds.iter_mut().flat_map(|round| &mut round.requests) {
            request.script = request.script.iter().cycle().take(40).copied().collect();
        }
        let limits = stack.iter().zip(world.plan.limits.iter().cycle());
        let sum: u32 = limits.filter(|(layer, _)| layer.resends()).map(|(_, limit)| *limit).sum();
        let sent = paused(async {
            let mut runner = Runner::new(&world, &stack);
            runner.play().await;
            runner.ends.keys().map(|id| runner.attempts(*id)).collect::<Vec<_>>()
        });
        for attempts in sent {
            // An error comes from the inner service and cannot carry a count.
            let errors = attempts.iter().any(|sent| sent.step.is_error());
            prop_assert!(errors || attempts.len() <= sum as usize, "{} of {sum}", attempts.len());
        }
    }
}
