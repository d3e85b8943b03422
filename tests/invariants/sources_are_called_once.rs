//! Sources have one call at a time for each account and group, no call too soon or after a person is
//! needed; no valid token is lost, and every wait ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;
use tower_failover::{Event, pool::State, report::TokenEventKind};

use super::{
    run::{Ended, Stage, paused},
    script::Play,
    sources::{Fed, Give, Heard},
    stack::{Layer, of_one_pool, rotating},
    upstream::{Temper, Who},
    world::{Change, World, id_of, living},
};

/// The shortest time that a failure is remembered.
const MEMORY: Duration = Duration::from_millis(500);

/// Returns calls that came too soon after a failure, or after the last allowed one.
fn too_soon(stage: &Stage<'_>) -> Vec<String> {
    let heard = stage.double.sources(|log| log.heard.clone());
    let changes = stage.double.changes();
    let mut wrong = Vec::new();
    for (at, asked) in heard.iter().enumerate() {
        let Fed::Asked(_) = asked.what else { continue };
        let who = (asked.pool, asked.account);
        let mine = heard[..at].iter().filter(|heard| (heard.pool, heard.account) == who);
        let mine: Vec<_> = mine.collect();
        // Whether a person has acted since the call of this answer.
        let person = |answer: &Heard| {
            let before = mine
                .iter()
                .rfind(|heard| heard.seq < answer.seq && matches!(heard.what, Fed::Asked(_)));
            changes.iter().any(|change| {
                let by_hand = matches!(change.change, Change::Replace | Change::Revive);
                by_hand
                    && who == (0, change.account)
                    && before.is_none_or(|before| before.seq < change.seq)
            })
        };
        let over = mine.iter().rfind(|heard| matches!(heard.what, Fed::Over(_)));
        // A call that ended without a token has failed.
        let failed = mine.last().filter(|heard| matches!(heard.what, Fed::Silent));
        let failed = failed.filter(|failed| asked.at - failed.at < MEMORY);
        for answer in over.into_iter().chain(failed).filter(|answer| !person(answer)) {
            wrong.push(format!("{asked:?} after {answer:?}"));
        }
    }
    wrong
}

/// Returns accounts that wait for their source although their token was valid.
fn displaced(stage: &Stage<'_>, samples: &[Sample]) -> Vec<String> {
    let log = stage.double.log();
    let changes = stage.double.changes();
    let mut wrong = Vec::new();
    for sample in samples {
        for (account, generation) in &sample.waiting {
            let who = Who { pool: 0, account: *account, generation: *generation };
            let refused = log.iter().any(|sent| {
                sent.who == Some(who) && sent.answered() && sent.verdict.is_unauthorized()
            });
            let by_hand = changes.iter().any(|change| {
                let invalid = matches!(change.change, Change::Invalidate);
                invalid && (change.account, change.generation) == (*account, *generation)
            });
            if !refused && !by_hand {
                wrong.push(format!("{who:?} at {:?}", sample.at));
            }
        }
    }
    wrong
}

/// Returns the accounts without a usable token at some time, whose token was valid.
struct Sample {
    at: Instant,
    waiting: BTreeSet<(usize, u64)>,
}

fn sample(stage: &Stage<'_>) -> Sample {
    let waiting = stage.pools[0].view().accounts.into_iter().enumerate().filter(|(i, account)| {
        let loaded = stage.double.generation(0, *i).1 || account.generation > 0;
        let ended = account.expires_in == Some(Duration::ZERO);
        account.state == State::Refreshing && account.usable_in.is_some() && loaded && !ended
    });
    Sample {
        at: Instant::now(),
        waiting: waiting.map(|(i, account)| (i, account.generation)).collect(),
    }
}

/// Returns sources that were reported to be down more often than they went down.
fn told_too_often(stage: &Stage<'_>) -> Vec<String> {
    let heard = stage.double.sources(|log| log.heard.clone());
    let changes = stage.double.changes();
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for heard in &heard {
        // A series of failures begins with a call, or after a success.
        let counts = matches!(heard.what, Fed::Given(..) | Fed::Over(_));
        let id = id_of(heard.pool, heard.account);
        let most = most.entry(id).or_insert(1);
        *most += usize::from(counts);
    }
    for change in changes {
        *most.entry(id_of(0, change.account)).or_insert(1) += 1;
    }
    for event in stage.recorder.events() {
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
fn stuck(stage: &Stage<'_>) -> Vec<u32> {
    let requests = stage.world.requests();
    let hangs = |id: u32| {
        let plan = requests[id as usize - 1];
        plan.polls.is_some() || plan.shape.pause || plan.shape.fails
    };
    let hung = |id: u32| stage.attempts(id).iter().any(|sent| sent.step.play == Play::Hang);
    let ends = stage.ends.iter().filter(|(_, ended)| **ended == Ended::Dropped);
    ends.map(|(id, _)| *id).filter(|id| !hangs(*id) && !hung(*id)).collect()
}

/// Many concurrent requests, some of them dropped.
fn crowded() -> impl Strategy<Value = World> {
    (living(), 1..4_usize).prop_map(|(mut world, times)| {
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
        // An account that waits for its group waits for the calls before it.
        let mut stack = of_one_pool(stack);
        stack.retain(|layer| *layer != Layer::Limit);
        paused(async {
            let mut stage = Stage::new(&world, &stack);
            let mut samples = Vec::new();
            for round in &world.rounds {
                stage.round(round).await;
                samples.push(sample(&stage));
            }
            // Every call ends within ten times its deadline.
            stage.pass(Duration::from_secs(1_000)).await;
            samples.push(sample(&stage));
            prop_assert_eq!(stage.double.sources(|log| log.wrong.clone()), Vec::<String>::new());
            prop_assert_eq!(too_soon(&stage), Vec::<String>::new());
            prop_assert_eq!(displaced(&stage, &samples), Vec::<String>::new());
            prop_assert_eq!(told_too_often(&stage), Vec::<String>::new());
            prop_assert_eq!(stuck(&stage), Vec::<u32>::new());
            Ok(())
        })?;
    }

    /// One token, rejected for many requests at once: one call, and one replay for each.
    #[test]
    fn rejection_of_many_requests_is_one_refresh(mut world in living(), stack in rotating(), many in 2..20_u32) {
        let stack = of_one_pool(stack);
        world.rounds.truncate(1);
        let round = &mut world.rounds[0];
        round.changes.clear();
        world.plan.refresh_deadline = 10_000;
        let plan = round.requests[0].clone();
        round.requests = (0..many).map(|_| plan.clone()).collect();
        for plan in world.pools.iter_mut().flatten() {
            plan.end = None;
            if let Temper::First { step, .. } = plan.temper {
                plan.temper = Temper::Always { step, generations: 1 };
            }
            if let Some(source) = &mut plan.source {
                source.replies.iter_mut().for_each(|reply| {
                    // In time: an abandoned call may be repeated.
                    reply.after = reply.after.min(700);
                    (reply.give, reply.life, reply.wait) = (Give::New, super::sources::Life::Unknown, None);
                });
            }
        }
        paused(async {
            let mut stage = Stage::new(&world, &stack);
            stage.play().await;
            // One call for each token that was rejected, or missing; none for any other.
            let log = stage.double.log();
            let mut asked: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            stage.double.sources(|log| {
                for heard in log.heard.iter().filter(|heard| matches!(heard.what, Fed::Asked(_))) {
                    *asked.entry((heard.pool, heard.account)).or_default() += 1;
                }
            });
            for ((pool, account), asked) in asked {
                let source = world.pools[pool][account].source.unwrap();
                let refused: BTreeSet<_> = log
                    .iter()
                    .filter(|sent| sent.answered() && sent.verdict.is_unauthorized())
                    .filter_map(|sent| sent.who)
                    .filter(|who| (who.pool, who.account) == (pool, account))
                    .collect();
                let most = refused.len() + usize::from(!source.loaded);
                prop_assert!(asked <= most, "{asked} questions for {refused:?}");
            }
            Ok(())
        })?;
    }
}
