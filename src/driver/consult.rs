//! The questions to the stages after a failure.

use std::time::Duration;

use http_body::Body;

use super::{
    limits::RequestLimits,
    outcome::{Failure, Renewal},
};
use crate::{
    classify::Cause,
    clock::Now,
    pool::{ChangeWait, Pool, lease::InFlight},
    report::NotResent,
    stage::{Facts, Ledger, ModelLookup, Next, Stage, rotation::will_serve},
};

/// The decision of the stages after a failure.
pub(crate) struct Choice {
    pub(crate) next: Next,
    /// Why the request is not sent again, if it is not.
    pub(crate) why: NotResent,
    /// After how long an account may serve again, when a rotation found none now.
    pub(crate) available_in: Option<Duration>,
    /// Whether a pool has taken the blame for the verdict.
    pub(crate) charged: bool,
    /// The token source that is down, and newer than the rejection.
    pub(crate) unready: Option<Cause>,
}

/// Collects the facts that the stages decide by.
pub(crate) fn facts<'a, B: Body, E>(
    limits: RequestLimits<'a>,
    ledger: &'a Ledger,
    failure: &Failure<B, E>,
    now: &'a mut Now,
    wanted: ModelLookup<'a>,
) -> Facts<'a> {
    let inner = failure.inner.as_ref();
    Facts {
        status: failure.status(),
        local: failure.is_local(),
        unsent: failure.is_unsent(),
        charged: inner.is_some_and(|inner| inner.charged),
        options: limits.data.options.as_ref(),
        ledger: Some(ledger),
        deadline: limits.deadline(),
        repeatable: limits.is_repeatable(),
        barred: limits.barred(ledger),
        last: matches!(failure.renewal, Renewal::Over),
        random: fastrand::f64,
        available_in: inner.and_then(|inner| inner.available_in),
        not_resent: inner.map_or(NotResent::Final, |_| ledger.not_resent(limits.data.parent)),
        ..Facts::of(failure.verdict, now, wanted)
    }
}

/// Has the stages learn from the failure, and keeps their account before they let go of it.
pub(crate) fn learn<St: Stage, B: Body, E>(
    stages: &St,
    st: &mut St::State,
    failure: &mut Failure<B, E>,
    facts: &mut Facts<'_>,
) {
    stages.note_failure(st, facts);
    // The next question to the stages may let go of the account.
    failure.stamp = stages.chosen(st).stamp();
    failure.in_flight = stages.chosen(st).in_flight().map(InFlight::pause);
}

/// Returns the wait for a newer credential of the account that answered, where there is one.
pub(crate) fn await_renewal<St: Stage, B: Body, E>(
    stages: &St,
    st: &St::State,
    failure: &mut Failure<B, E>,
    facts: &mut Facts<'_>,
) -> Option<ChangeWait> {
    if matches!(failure.renewal, Renewal::Over) || !stages.awaits_refresh(st, facts) {
        return None;
    }
    let pool = stages.chosen(st).pool?;
    match std::mem::replace(&mut failure.renewal, Renewal::Unasked) {
        Renewal::Changed(change) => Some(change),
        Renewal::Unasked | Renewal::Over => {
            Some(pool.wait_for_change(&mut failure.waiting_since, facts.deadline))
        }
    }
}

/// Has the stages choose what comes next.
pub(crate) fn choose_next<St: Stage, B: Body, E>(
    stages: &St,
    st: &mut St::State,
    failure: &Failure<B, E>,
    facts: &mut Facts<'_>,
) -> Choice {
    let mut next = stages.next(st, facts);
    let pools = failure.inner.as_ref().map_or(&[][..], |inner| &inner.pools);
    if !can_be_served(next, pools, facts) {
        stages.cancel(st);
        next = facts.decline(NotResent::NoAccount);
    }
    let (available_in, charged, unready) = (facts.available_in, facts.charged, facts.not_ready);
    Choice { next, why: facts.not_resent, available_in, charged, unready }
}

/// Returns whether the rotations of drivers below will have an account for the next attempt: an
/// answer is not given up for an attempt that they would answer locally.
fn can_be_served(next: Next, pools: &[Pool], facts: &mut Facts<'_>) -> bool {
    let wait = match next {
        Next::Pass => return true,
        Next::Rotate | Next::Replay | Next::FallBack => Duration::ZERO,
        Next::Retry(wait) => wait,
    };
    if pools.is_empty() {
        return true;
    }
    let Some(at) = facts.now.get().checked_add(wait) else { return true };
    let at_once = next != Next::Retry(wait);
    let (options, ledger) = (facts.options, facts.ledger);
    pools.iter().all(|pool| will_serve(pool, options, ledger, at, at_once, &mut facts.model))
}
