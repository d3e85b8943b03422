//! I8: a cooldown never gets shorter, every account recovers by itself, one request gets at most
//! `max_refusals` accounts rejected, and a late answer to an old generation leaves the new one
//! unchanged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;
use tower_failover::pool::{PoolView, State};

use super::{
    request_body::Shape,
    runner::{Ended, Runner, paused},
    script::{Play, Step},
    sources::{SourceEvent, SourceStep},
    stack::{Layer, Promises, of_one_pool, rotating},
    upstream::{Behaviour, End},
    world::{Change, ModelPlace, Pin, RequestPlan, World, world},
};

/// Builds a request that is pinned to this account and succeeds.
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
        at: ModelPlace::Json,
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
pub(crate) async fn all_recover(runner: &mut Runner<'_>) -> Result<(), String> {
    runner.upstream.sources(|log| log.repaired = true);
    runner.pass(Duration::from_secs(25 * 3_600)).await;
    for (at, account) in runner.pools[0].view().accounts.iter().enumerate() {
        let plan = runner.world.pools[0][at];
        if account.in_flight != 0 {
            return Err(format!("in flight: {account:?}"));
        }
        if account.state == State::Retired {
            continue;
        }
        runner.upstream.behaviour(
            0,
            at,
            Behaviour::Always { step: Step::now(Play::Status(200)), generations: 99 },
        );
        runner.policy.calls.lock().unwrap().clear();
        if plan.source.is_some() && runner.world.plan.ready_within == 0 {
            // This request does not wait for the source; the next one finds the new token.
            runner.one(&pinned(at)).await;
            runner.pass(Duration::from_secs(1)).await;
        }
        let ended = runner.one(&pinned(at)).await;
        let served =
            matches!(&ended, Ended::Answer { status, cause: None, .. } if status.as_u16() == 200);
        let view = &runner.pools[0].view().accounts[at];
        if view.state == State::Retired && needs_operator(runner, at) {
            continue;
        }
        if !served || view.state != State::Usable {
            return Err(format!("{ended:?}: {account:?}, now {view:?}"));
        }
    }
    Ok(())
}

/// Returns whether the account needs an operator: its token has expired, and no source returns
/// another.
fn needs_operator(runner: &Runner<'_>, at: usize) -> bool {
    let plan = runner.world.pools[0][at];
    let terminal = |event: &SourceEvent| {
        (event.pool, event.account) == (0, at) && matches!(event.step, SourceStep::Terminal(_))
    };
    match plan.source {
        Some(_) => runner.upstream.sources(|log| log.events.iter().any(terminal)),
        None => plan.end.is_some(),
    }
}

type Samples = Arc<Mutex<Vec<(Instant, PoolView)>>>;

/// Returns cooldowns that ended sooner than an earlier view showed. A view shows no cooldown during
/// a refresh; the renewed token inherits the cooldown of the account, while a quarantine ends with
/// its generation.
fn shortened(
    samples: &Samples,
    revived: &[(Instant, usize)],
    replaced: &[(usize, u64)],
) -> Vec<String> {
    let mut limits: BTreeMap<(usize, u64), (Instant, Instant)> = BTreeMap::new();
    let mut cooling: BTreeMap<usize, (u64, Instant, Instant)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, view) in samples.lock().unwrap().iter() {
        for (i, account) in view.accounts.iter().enumerate() {
            let limited = matches!(account.state, State::Cooling | State::Quarantined);
            let until = *at + account.usable_in.unwrap_or_default();
            let key = (i, account.generation);
            if let Some((old, seen, before)) = cooling.remove(&i) {
                let by_hand = |at: &(usize, u64)| at.0 == i && at.1 >= old && at.1 < key.1;
                if old == key.1 || !replaced.iter().any(by_hand) {
                    limits.entry(key).or_insert((seen, before));
                    cooling.insert(i, (key.1, seen, before));
                }
            }
            // A quarantine ends with its token.
            let ended = account.expires_in == Some(Duration::ZERO);
            if account.state == State::Refreshing || ended && account.state == State::Quarantined {
                continue;
            }
            if let Some((seen, before)) = limits.get(&key).copied() {
                let excused = account.state == State::Retired
                    || revived.iter().any(|(when, of)| *of == i && seen <= *when && when <= at);
                // Only a successful probe ends a quarantine early; only time ends a cooldown.
                if !excused && *at < before && (!limited || until < before) {
                    wrong.push(format!("account {i} at {at:?}: {account:?}, was until {before:?}"));
                }
            }
            cooling.remove(&i);
            if limited && !account.usable_in.unwrap_or_default().is_zero() {
                limits.insert(key, (*at, until));
                if account.state == State::Cooling {
                    cooling.insert(i, (account.generation, *at, until));
                }
            } else {
                limits.remove(&key);
            }
        }
    }
    wrong
}

async fn watched<'w>(world: &'w World, stack: &[Layer]) -> (Runner<'w>, Vec<String>) {
    let mut runner = Runner::new(world, stack);
    let samples = Samples::default();
    let (pool, seen) = (runner.pools[0].clone(), samples.clone());
    runner.upstream.watch(Box::new(move || {
        seen.lock().unwrap().push((Instant::now(), pool.view()));
    }));
    runner.play().await;
    runner.upstream.notify_watch();
    let changes = runner.upstream.changes();
    let revived = changes.iter().filter(|c| matches!(c.change, Change::Revive));
    let revived: Vec<_> = revived.map(|change| (change.at, change.account)).collect();
    let replaced = changes.iter().filter(|c| matches!(c.change, Change::Replace));
    let replaced: Vec<_> = replaced.map(|change| (change.account, change.generation)).collect();
    let wrong = shortened(&samples, &revived, &replaced);
    (runner, wrong)
}

/// Returns requests that got more accounts rejected than the limit allows.
fn too_many_rejections(runner: &Runner<'_>) -> Vec<String> {
    let most = runner.world.plan.max_refusals as usize;
    let mut wrong = Vec::new();
    for id in runner.ends.keys() {
        let mut rejected: Vec<_> = runner
            .attempts(*id)
            .into_iter()
            .filter(|sent| sent.answered() && sent.verdict.is_unauthorized())
            .filter_map(|sent| sent.credential)
            .collect();
        rejected.sort();
        rejected.dedup();
        if rejected.len() > most {
            wrong.push(format!("request {id}: {rejected:?}"));
        }
    }
    wrong
}

/// Returns new generations that are out without a rejection.
fn out_without_rejection(runner: &Runner<'_>) -> Vec<String> {
    let (log, changes) = (runner.upstream.log(), runner.upstream.changes());
    let view = runner.pools[0].view();
    let out = view.accounts.iter().enumerate().filter(|(i, account)| {
        let generation = account.generation;
        let rejected = log.iter().any(|sent| {
            sent.credential.is_some_and(|credential| {
                (credential.pool, credential.account, credential.generation) == (0, *i, generation)
            }) && matches!(sent.end, End::Answered { .. })
                && sent.verdict.is_unauthorized()
        });
        // An account that an operator retired stays retired, whatever its source returns.
        let changed = changes.iter().any(|c| {
            let retired = matches!(c.change, Change::Retire);
            c.account == *i && (c.generation == generation || retired && c.generation < generation)
        });
        let out = match account.state {
            State::Usable | State::Cooling => false,
            State::Refreshing => runner.world.pools[0][*i].source.is_none(),
            State::Retired => !needs_operator(runner, *i),
            _ => true,
        };
        !rejected && !changed && out
    });
    out.map(|(_, account)| format!("{account:?}")).collect()
}

proptest! {
    #[test]
    fn i08_cooldowns_only_grow(mut world in world(), stack in rotating()) {
        let stack = of_one_pool(stack);
        world.opinions.retain(|said| said.is_none_or(|said| !said.is_success()));
        let promises = Promises(&stack);
        paused(async {
            let (mut runner, shortened) = watched(&world, &stack).await;
            prop_assert_eq!(shortened, Vec::<String>::new());
            prop_assert_eq!(out_without_rejection(&runner), Vec::<String>::new());
            // The layers cannot count a rejection that a foreign layer below hides.
            if !promises.tries_are_requests() && promises.no_retry_on_401(false) {
                prop_assert_eq!(too_many_rejections(&runner), Vec::<String>::new());
            }
            prop_assert_eq!(all_recover(&mut runner).await, Ok(()));
            Ok(())
        })?;
    }
}
