//! I7: the caller gets the newest outcome, complete; a local answer only if nothing was sent or the
//! next attempt became impossible; never a local 500.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;
use tower_failover::{Code, classify::Origin};

use super::{
    runner::{Ended, Runner, played},
    script::attempt_of,
    sources::{SourceEvent, SourceStep},
    stack::{Layer, Promises, stack},
    upstream::{End, Sent},
    world::{Pin, id_of, world},
};

fn newest(attempts: &[Sent]) -> Option<&Sent> {
    attempts.iter().max_by_key(|sent| match sent.end {
        End::Answered { seq, .. } => seq,
        _ => 0,
    })
}

/// Returns what is wrong with the outcome of a request.
fn wrong(runner: &Runner<'_>, id: u32, ended: &Ended) -> Option<String> {
    let attempts = runner.attempts(id);
    let last = newest(&attempts).filter(|sent| sent.answered());
    let (status, headers, body, cause, served) = match ended {
        Ended::Dropped => return None,
        Ended::Error(text) => {
            let want = last.map(|sent| sent.step.error(sent.n).to_string());
            return (want.as_ref() != Some(text)).then(|| format!("{text:?} for {want:?}"));
        }
        Ended::Answer { status, headers, body, cause, served } => {
            (status, headers, body, cause, served)
        }
    };
    let ours = attempt_of(headers).is_none();
    let late = cause.is_some_and(|cause| cause.code == Code::DeadlineExceeded);
    if ours && status.is_server_error() && status.as_u16() != if late { 504 } else { 503 } {
        return Some(format!("a {status} of our own"));
    }
    let local = cause.is_some_and(|cause| cause.origin == Origin::Local);
    if local != ours && !runner.world.plan.replace {
        return Some(format!("{cause:?} on an answer of {:?}", attempt_of(headers)));
    }
    let Some(last) = last else {
        return (!local).then(|| "a foreign answer without an attempt".to_owned());
    };
    if ours {
        let rejected = last.verdict.is_unauthorized() && last.credential.is_some();
        return (!local && !rejected).then(|| "an answer replaced without a rejection".into());
    }
    if attempt_of(headers) != Some(last.n) {
        return Some(format!("a stale answer: {:?} for {}", attempt_of(headers), last.n));
    }
    let mut plain = headers.clone();
    let marker = plain.remove("x-failover-auth");
    let marked = last.verdict.is_unauthorized() && last.credential.is_some();
    if marker.is_some() != marked || cause.is_some() != marked {
        return Some(format!("{marker:?} and {cause:?} for {:?}", last.verdict));
    }
    if (status, &plain) != (&last.step.status().unwrap(), &last.step.headers(last.n)) {
        return Some(format!("{status} {plain:?}"));
    }
    if body != last.step.body(last.n).as_bytes() {
        return Some(format!("{body:?}"));
    }
    let id = last.credential.map(|credential| id_of(credential.pool, credential.account));
    let served = served.as_ref()?;
    let plan = runner.world.requests()[last.id as usize - 1];
    let own = plan.named.or(plan.model).map(super::world::model_of);
    let fell = last.model().filter(|model| own != Some(model));
    (served.account.as_deref() != id.as_deref() || served.model.as_deref() != fell.as_deref())
        .then(|| format!("{served:?} for {id:?} and {fell:?}"))
}

/// Returns whether no account could serve after a rejection because a source was unavailable or too
/// slow: that outcome is newer than the rejection and not an authentication failure.
fn is_down(runner: &Runner<'_>, stack: &[Layer], id: u32, ended: &Ended) -> bool {
    let Ended::Answer { cause: Some(cause), .. } = ended else { return false };
    let attempts = runner.attempts(id);
    let Some(last) = newest(&attempts) else { return false };
    let End::Answered { at, .. } = last.end else { return false };
    let (since, end) = runner.times[&id];
    // Otherwise the token expired during another wait.
    let rejected = last.verdict.is_unauthorized();
    if cause.code != Code::NotReady || !rejected && end == at {
        return false;
    }
    let (world, request) = (runner.world, runner.world.requests()[id as usize - 1]);
    let limit = super::i03_one_budget::deadline(world, stack, request);
    let wait = Duration::from_millis(world.plan.ready_within);
    let waited = end - at >= wait || limit.is_some_and(|limit| end - since >= limit);
    let patience = Duration::from_millis(world.plan.refresh_deadline);
    let is_down = |key: (usize, usize)| {
        let group = world.pools[key.0][key.1].group;
        // A call for another account of the group may still run.
        let turn = |event: &SourceEvent| {
            let other = || group.is_some() && world.pools[key.0][event.account].group == group;
            event.pool == key.0 && (event.account == key.1 || other())
        };
        // The answer may have come at the same instant, and too late.
        let untils: [&dyn Fn(Instant) -> bool; 2] = [&|at| at < end, &|at| at <= end];
        runner.upstream.sources(|log| {
            untils.iter().any(|until| {
                let before = || log.events.iter().filter(|event| until(event.at));
                let open = before().rfind(|event| turn(event));
                let late = open.is_none_or(|event| {
                    matches!(event.step, SourceStep::Called(_))
                        && (waited || end - event.at >= patience)
                });
                let mine = before().rfind(|event| (event.pool, event.account) == key);
                // A source that returns the expired token again has failed as well.
                late || mine.is_some_and(|event| match event.step {
                    SourceStep::Ended => true,
                    SourceStep::Received(new, old, _) => new == old,
                    SourceStep::Called(_) | SourceStep::Terminal(_) => false,
                })
            })
        })
    };
    let may_serve = |pool: usize, account: usize| match request.pin {
        Pin::Strict(at) => (pool, account) == (0, at),
        Pin::None | Pin::Prefer(_) => true,
    };
    world.pools.iter().enumerate().any(|(pool, plans)| {
        let minting = plans.iter().enumerate().filter(|(_, plan)| plan.source.is_some());
        let mut minting = minting.filter(|(account, _)| may_serve(pool, *account));
        minting.any(|(account, _)| is_down((pool, account)))
    })
}

proptest! {
    #[test]
    fn i07_newest_truth(world in world(), stack in stack()) {
        let promises = Promises(&stack);
        let wrong = played(&world, &stack, |runner| {
            let mut all = Vec::new();
            for (id, ended) in &runner.ends {
                all.extend(wrong(runner, *id, ended).map(|what| format!("request {id}: {what}")));
            }
            all
        });
        // A foreign layer below may return any outcome.
        if !promises.foreign() || promises.tries_are_requests() {
            prop_assert_eq!(wrong, Vec::<String>::new());
        }
    }

    #[test]
    fn i07_answer_is_not_given_up_without_a_next_attempt(mut world in world(), stack in stack()) {
        // One request at a time, so the pool does not change between decision and attempt.
        for round in &mut world.rounds {
            round.requests.truncate(1);
            round.changes.clear();
        }
        let promises = Promises(&stack);
        let given_up = played(&world, &stack, |runner| {
            let local = |ended: &Ended| match ended {
                Ended::Answer { cause: Some(cause), .. } => cause.origin == Origin::Local,
                _ => false,
            };
            let ends = runner.ends.iter().filter(|(_, ended)| local(ended));
            let ends = ends.filter(|(id, _)| !runner.attempts(**id).is_empty());
            let ends = ends.filter(|(id, ended)| !is_down(runner, &stack, **id, ended));
            ends.map(|(id, _)| *id).collect::<Vec<_>>()
        });
        if !promises.foreign() && !promises.has_gate_between_rotations() {
            prop_assert_eq!(given_up, Vec::<u32>::new());
        }
    }
}
