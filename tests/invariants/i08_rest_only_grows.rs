//! I8: a cooldown never shrinks, everything heals by itself, one request has at most `max_refusals`
//! accounts rejected, and late evidence about an old generation leaves the new one alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;
use tower_failover::pool::{PoolView, State};

use super::{
    load::Shape,
    run::{Ended, Stage, paused},
    script::{Play, Step},
    sources::{Fed, Heard},
    stack::{Layer, Promises, of_one_pool, rotating},
    upstream::{End, Temper},
    world::{At, Change, Pin, RequestPlan, World, world},
};

/// A request that only this account may serve, and that succeeds.
fn pinned(at: usize) -> RequestPlan {
    RequestPlan {
        post: false,
        keyed: false,
        own: false,
        grpc: false,
        pin: Pin::Strict(at),
        sticky: false,
        model: None,
        named: None,
        at: At::Json,
        shape: Shape::PLAIN,
        length: false,
        no_fallback: false,
        no_retry: false,
        repeatable: false,
        attempts: None,
        deadline: None,
        script: Vec::new(),
        after: 0,
        polls: None,
    }
}

/// Checks that all accounts serve again after enough time, or are retired.
pub(crate) async fn all_heal(stage: &mut Stage<'_>) -> Result<(), String> {
    stage.double.sources(|log| log.mended = true);
    stage.pass(Duration::from_secs(25 * 3_600)).await;
    for (at, account) in stage.pools[0].view().accounts.iter().enumerate() {
        let plan = stage.world.pools[0][at];
        if account.in_flight != 0 {
            return Err(format!("in flight: {account:?}"));
        }
        if account.state == State::Retired {
            continue;
        }
        stage.double.temper(
            0,
            at,
            Temper::Always { step: Step::now(Play::Status(200)), generations: 99 },
        );
        stage.hostile.asked.lock().unwrap().clear();
        if plan.source.is_some() && stage.world.plan.ready_within == 0 {
            // This request does not wait; the next one finds the token that it has started to fetch.
            stage.one(&pinned(at)).await;
            stage.pass(Duration::from_secs(1)).await;
        }
        let ended = stage.one(&pinned(at)).await;
        let served =
            matches!(&ended, Ended::Answer { status, cause: None, .. } if status.as_u16() == 200);
        let view = &stage.pools[0].view().accounts[at];
        if view.state == State::Retired && is_over(stage, at) {
            continue;
        }
        if !served || view.state != State::Usable {
            return Err(format!("{ended:?}: {account:?}, now {view:?}"));
        }
    }
    Ok(())
}

/// Returns whether a person must act: its token has expired, and no source returns another.
fn is_over(stage: &Stage<'_>, at: usize) -> bool {
    let plan = stage.world.pools[0][at];
    let over = |heard: &Heard| {
        (heard.pool, heard.account) == (0, at) && matches!(heard.what, Fed::Over(_))
    };
    match plan.source {
        Some(_) => stage.double.sources(|log| log.heard.iter().any(over)),
        None => plan.end.is_some(),
    }
}

type Samples = Arc<Mutex<Vec<(Instant, PoolView)>>>;

/// Returns cooldowns that ended earlier than an earlier view had shown. During a refresh the view does
/// not show the cooldown, and the next token keeps it; the quarantine of the token before ends with
/// that token.
fn shrunk(
    samples: &Samples,
    revived: &[(Instant, usize)],
    replaced: &[(usize, u64)],
) -> Vec<String> {
    let mut known: BTreeMap<(usize, u64), (Instant, Instant)> = BTreeMap::new();
    let mut resting: BTreeMap<usize, (u64, Instant, Instant)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, view) in samples.lock().unwrap().iter() {
        for (i, account) in view.accounts.iter().enumerate() {
            let rests = matches!(account.state, State::Cooling | State::Quarantined);
            let until = *at + account.usable_in.unwrap_or_default();
            let key = (i, account.generation);
            if let Some((old, seen, before)) = resting.remove(&i) {
                let by_hand = |at: &(usize, u64)| at.0 == i && at.1 >= old && at.1 < key.1;
                if old == key.1 || !replaced.iter().any(by_hand) {
                    known.entry(key).or_insert((seen, before));
                    resting.insert(i, (key.1, seen, before));
                }
            }
            // A quarantine is over with its token.
            let ended = account.expires_in == Some(Duration::ZERO);
            if account.state == State::Refreshing || ended && account.state == State::Quarantined {
                continue;
            }
            if let Some((seen, before)) = known.get(&key).copied() {
                let excused = account.state == State::Retired
                    || revived.iter().any(|(when, who)| *who == i && seen <= *when && when <= at);
                // While it lasts: only a successful probe ends a quarantine, and only time a cooldown.
                if !excused && *at < before && (!rests || until < before) {
                    wrong.push(format!("account {i} at {at:?}: {account:?}, was until {before:?}"));
                }
            }
            resting.remove(&i);
            if rests && !account.usable_in.unwrap_or_default().is_zero() {
                known.insert(key, (*at, until));
                if account.state == State::Cooling {
                    resting.insert(i, (account.generation, *at, until));
                }
            } else {
                known.remove(&key);
            }
        }
    }
    wrong
}

async fn watched<'w>(world: &'w World, stack: &[Layer]) -> (Stage<'w>, Vec<String>) {
    let mut stage = Stage::new(world, stack);
    let samples = Samples::default();
    let (pool, seen) = (stage.pools[0].clone(), samples.clone());
    stage.double.watch(Box::new(move || {
        seen.lock().unwrap().push((Instant::now(), pool.view()));
    }));
    stage.play().await;
    stage.double.look();
    let changes = stage.double.changes();
    let revived = changes.iter().filter(|c| matches!(c.change, Change::Revive));
    let revived: Vec<_> = revived.map(|change| (change.at, change.account)).collect();
    let replaced = changes.iter().filter(|c| matches!(c.change, Change::Replace));
    let replaced: Vec<_> = replaced.map(|change| (change.account, change.generation)).collect();
    let wrong = shrunk(&samples, &revived, &replaced);
    (stage, wrong)
}

/// Returns requests that had more than `max_refusals` accounts rejected.
fn poisoned(stage: &Stage<'_>) -> Vec<String> {
    let most = stage.world.plan.max_refusals as usize;
    let mut wrong = Vec::new();
    for id in stage.ends.keys() {
        let mut refused: Vec<_> = stage
            .attempts(*id)
            .into_iter()
            .filter(|sent| sent.answered() && sent.verdict.is_unauthorized())
            .filter_map(|sent| sent.who)
            .collect();
        refused.sort();
        refused.dedup();
        if refused.len() > most {
            wrong.push(format!("request {id}: {refused:?}"));
        }
    }
    wrong
}

/// Returns new generations that are out without a rejection.
fn touched(stage: &Stage<'_>) -> Vec<String> {
    let (log, changes) = (stage.double.log(), stage.double.changes());
    let view = stage.pools[0].view();
    let out = view.accounts.iter().enumerate().filter(|(i, account)| {
        let generation = account.generation;
        let refused = log.iter().any(|sent| {
            sent.who
                .is_some_and(|who| (who.pool, who.account, who.generation) == (0, *i, generation))
                && matches!(sent.end, End::Answered { .. })
                && sent.verdict.is_unauthorized()
        });
        // An account that a person has taken out stays out with any answer of its source.
        let changed = changes.iter().any(|c| {
            let retired = matches!(c.change, Change::Retire);
            c.account == *i && (c.generation == generation || retired && c.generation < generation)
        });
        let out = match account.state {
            State::Usable | State::Cooling => false,
            State::Refreshing => stage.world.pools[0][*i].source.is_none(),
            State::Retired => !is_over(stage, *i),
            _ => true,
        };
        !refused && !changed && out
    });
    out.map(|(_, account)| format!("{account:?}")).collect()
}

proptest! {
    #[test]
    fn i08_rest_only_grows(mut world in world(), stack in rotating()) {
        let stack = of_one_pool(stack);
        world.opinions.retain(|said| said.is_none_or(|said| !said.is_success()));
        let promises = Promises(&stack);
        paused(async {
            let (mut stage, shrunk) = watched(&world, &stack).await;
            prop_assert_eq!(shrunk, Vec::<String>::new());
            prop_assert_eq!(touched(&stage), Vec::<String>::new());
            // A rejection that a foreign layer below hides cannot be counted.
            if !promises.tries_are_requests() && promises.no_retry_on_401(false) {
                prop_assert_eq!(poisoned(&stage), Vec::<String>::new());
            }
            prop_assert_eq!(all_heal(&mut stage).await, Ok(()));
            Ok(())
        })?;
    }
}
