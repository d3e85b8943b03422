//! Token sources: one call at a time for each account and group, no call too soon after a failure
//! or after a terminal one, no valid token is lost, and no request waits forever.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;
use tower_failover::{Event, pool::State, report::TokenEventKind};

use super::{
    runner::{Ended, Runner, paused},
    script::Play,
    sources::{ReplyKind, SourceEvent, SourceStep},
    stack::{Layer, of_one_pool, rotating},
    upstream::{Behaviour, CredentialId},
    world::{Change, World, changing_tokens, id_of},
};

/// The shortest pause after a failure.
const MEMORY: Duration = Duration::from_millis(500);

/// Returns calls that came too soon after a failure, or after a terminal one.
fn too_soon(runner: &Runner<'_>) -> Vec<String> {
    let source_events = runner.upstream.sources(|log| log.events.clone());
    let changes = runner.upstream.changes();
    let mut wrong = Vec::new();
    for (at, call) in source_events.iter().enumerate() {
        let SourceStep::Called(_) = call.step else { continue };
        let account = (call.pool, call.account);
        let mine =
            source_events[..at].iter().filter(|event| (event.pool, event.account) == account);
        let mine: Vec<_> = mine.collect();
        // Whether an operator has acted since the call of this answer.
        let operator_acted = |answer: &SourceEvent| {
            let before = mine.iter().rfind(|event| {
                event.seq < answer.seq && matches!(event.step, SourceStep::Called(_))
            });
            changes.iter().any(|change| {
                let by_hand = matches!(change.change, Change::Replace | Change::Revive);
                by_hand
                    && account == (0, change.account)
                    && before.is_none_or(|before| before.seq < change.seq)
            })
        };
        let terminal = mine.iter().rfind(|event| matches!(event.step, SourceStep::Terminal(_)));
        // A call that ended without a token has failed.
        let failed = mine.last().filter(|event| matches!(event.step, SourceStep::Ended));
        let failed = failed.filter(|failed| call.at - failed.at < MEMORY);
        for answer in terminal.into_iter().chain(failed).filter(|answer| !operator_acted(answer)) {
            wrong.push(format!("{call:?} after {answer:?}"));
        }
    }
    wrong
}

/// Returns accounts that wait for a refresh although their token was valid.
fn displaced(runner: &Runner<'_>, samples: &[Sample]) -> Vec<String> {
    let log = runner.upstream.log();
    let changes = runner.upstream.changes();
    let mut wrong = Vec::new();
    for sample in samples {
        for (account, generation) in &sample.waiting {
            let credential = CredentialId { pool: 0, account: *account, generation: *generation };
            let rejected = log.iter().any(|sent| {
                sent.credential == Some(credential)
                    && sent.answered()
                    && sent.verdict.is_unauthorized()
            });
            let by_hand = changes.iter().any(|change| {
                let invalid = matches!(change.change, Change::Invalidate);
                invalid && (change.account, change.generation) == (*account, *generation)
            });
            if !rejected && !by_hand {
                wrong.push(format!("{credential:?} at {:?}", sample.at));
            }
        }
    }
    wrong
}

/// The accounts in state `Refreshing` at some time whose token was loaded and had not expired.
struct Sample {
    at: Instant,
    waiting: BTreeSet<(usize, u64)>,
}

fn sample(runner: &Runner<'_>) -> Sample {
    let waiting = runner.pools[0].view().accounts.into_iter().enumerate().filter(|(i, account)| {
        let loaded = runner.upstream.generation(0, *i).1 || account.generation > 0;
        let ended = account.expires_in == Some(Duration::ZERO);
        account.state == State::Refreshing && account.usable_in.is_some() && loaded && !ended
    });
    Sample {
        at: Instant::now(),
        waiting: waiting.map(|(i, account)| (i, account.generation)).collect(),
    }
}

/// Returns sources that were reported as down more often than they failed.
fn reported_too_often(runner: &Runner<'_>) -> Vec<String> {
    let source_events = runner.upstream.sources(|log| log.events.clone());
    let changes = runner.upstream.changes();
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for event in &source_events {
        // A series of failures begins with the first call, or after a success.
        let counts = matches!(event.step, SourceStep::Received(..) | SourceStep::Terminal(_));
        let id = id_of(event.pool, event.account);
        let most = most.entry(id).or_insert(1);
        *most += usize::from(counts);
    }
    for change in changes {
        *most.entry(id_of(0, change.account)).or_insert(1) += 1;
    }
    for event in runner.recorder.events() {
        let Event::Token(event) = event else { continue };
        if let TokenEventKind::RefreshFailed { .. } = event.kind {
            let left = most.entry(event.account.id.to_string()).or_insert(0);
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return vec![event.to_string()],
            }
        }
    }
    Vec::new()
}

/// Returns requests that never ended, although they were not dropped and no upstream hung.
fn stuck(runner: &Runner<'_>) -> Vec<u32> {
    let requests = runner.world.requests();
    let hangs = |id: u32| {
        let plan = requests[id as usize - 1];
        plan.polls.is_some() || plan.shape.pause || plan.shape.fails
    };
    let hung = |id: u32| runner.attempts(id).iter().any(|sent| sent.step.play == Play::Hang);
    let ends = runner.ends.iter().filter(|(_, ended)| **ended == Ended::Dropped);
    ends.map(|(id, _)| *id).filter(|id| !hangs(*id) && !hung(*id)).collect()
}

/// Generates worlds with many concurrent requests, some of them dropped.
fn crowded() -> impl Strategy<Value = World> {
    (changing_tokens(), 1..4_usize).prop_map(|(mut world, times)| {
        for round in &mut world.rounds {
            let requests = round.requests.clone();
            round.requests = std::iter::repeat_n(requests, times).flatten().collect();
        }
        world
    })
}

proptest! {
    #[test]
    fn sources_are_called_once(world in crowded(), stack in rotating()) {
        // A concurrency limit would make requests wait for each other.
        let mut stack = of_one_pool(stack);
        stack.retain(|layer| *layer != Layer::Limit);
        paused(async {
            let mut runner = Runner::new(&world, &stack);
            let mut samples = Vec::new();
            for round in &world.rounds {
                runner.round(round).await;
                samples.push(sample(&runner));
            }
            // Every call ends within ten times its deadline.
            runner.pass(Duration::from_secs(1_000)).await;
            samples.push(sample(&runner));
            prop_assert_eq!(runner.upstream.sources(|log| log.wrong.clone()), Vec::<String>::new());
            prop_assert_eq!(too_soon(&runner), Vec::<String>::new());
            prop_assert_eq!(displaced(&runner, &samples), Vec::<String>::new());
            prop_assert_eq!(reported_too_often(&runner), Vec::<String>::new());
            prop_assert_eq!(stuck(&runner), Vec::<u32>::new());
            Ok(())
        })?;
    }

    /// One token is rejected for many concurrent requests: the source is called once.
    #[test]
    fn rejection_of_many_requests_causes_one_refresh(mut world in changing_tokens(), stack in rotating(), many in 2..20_u32) {
        let stack = of_one_pool(stack);
        world.rounds.truncate(1);
        let round = &mut world.rounds[0];
        round.changes.clear();
        world.plan.refresh_deadline = 10_000;
        let plan = round.requests[0].clone();
        round.requests = (0..many).map(|_| plan.clone()).collect();
        for plan in world.pools.iter_mut().flatten() {
            plan.end = None;
            if let Behaviour::First { step, .. } = plan.behaviour {
                plan.behaviour = Behaviour::Always { step, generations: 1 };
            }
            if let Some(source) = &mut plan.source {
                source.replies.iter_mut().for_each(|reply| {
                    // Within the deadline: a call that timed out may be repeated.
                    reply.after = reply.after.min(700);
                    (reply.kind, reply.lifetime, reply.wait) = (ReplyKind::New, super::sources::Lifetime::Unknown, None);
                });
            }
        }
        paused(async {
            let mut runner = Runner::new(&world, &stack);
            runner.play().await;
            // One call for each rejected or missing token; none for any other.
            let log = runner.upstream.log();
            let mut calls: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            runner.upstream.sources(|log| {
                for event in log.events.iter().filter(|event| matches!(event.step, SourceStep::Called(_))) {
                    *calls.entry((event.pool, event.account)).or_default() += 1;
                }
            });
            for ((pool, account), called) in calls {
                let source = world.pools[pool][account].source.unwrap();
                let rejected: BTreeSet<_> = log
                    .iter()
                    .filter(|sent| sent.answered() && sent.verdict.is_unauthorized())
                    .filter_map(|sent| sent.credential)
                    .filter(|credential| (credential.pool, credential.account) == (pool, account))
                    .collect();
                let most = rejected.len() + usize::from(!source.loaded);
                prop_assert!(called <= most, "{called} calls for {rejected:?}");
            }
            Ok(())
        })?;
    }
}
