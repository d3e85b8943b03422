//! Deciding when to call a source: once at a time for each account, for all requests that wait.

use std::sync::Arc;

use super::{
    answer::{retire_unrenewed, settle_unrenewed},
    task,
};
use crate::{
    clock::Now,
    credential::RefreshReason,
    pool::{
        account::{Begin, Generation, GenerationState},
        shared::{Change, Shared},
    },
    report::OutReason,
};

/// Checks a credential whose renewal or expiry is due. Returns whether a request may lease it.
///
/// Side effects: an expired credential without a source retires its account; a due call is started.
#[cold]
pub(crate) fn check_expiry(shared: &Arc<Shared>, generation: &Arc<Generation>, now: u64) -> bool {
    let lifetime = &generation.lifetime;
    let dead = lifetime.is_expired(now);
    let Some(source) = generation.account.minting_source() else {
        if dead {
            expire(shared, generation);
        }
        return !dead;
    };
    let begun = source.flight().begin(now);
    let waits = now >= lifetime.wait;
    match begun {
        _ if dead => {
            shared.change(generation, |state| state.ended(now));
            apply_begin(shared, generation, begun, RefreshReason::Expiring, now);
        }
        Begin::Started | Begin::UnderWay if waits => {
            shared.change(generation, GenerationState::expiring);
            apply_begin(shared, generation, begun, RefreshReason::Expiring, now);
        }
        Begin::Started | Begin::UnderWay => {
            lifetime.check_at(lifetime.wait);
            apply_begin(shared, generation, begun, RefreshReason::Expiring, now);
        }
        Begin::Later(at) => lifetime.check_at(at),
        Begin::Over(_) => lifetime.check_at(lifetime.dead),
    }
    !dead && generation.state().may_be_sent() && !generation.state().is_renewing()
}

/// Starts a due call to the source for a credential that may not be sent.
#[cold]
pub(crate) fn renew(shared: &Arc<Shared>, generation: &Arc<Generation>, now: u64) {
    let state = generation.state();
    if !state.is_renewing() || state.until() > now {
        return;
    }
    let Some(source) = generation.account.minting_source() else { return };
    let why = generation.refresh_reason();
    let mut flight = source.flight();
    let begun =
        if why.is_rejected() { flight.begin_after_rejection(now) } else { flight.begin(now) };
    drop(flight);
    apply_begin(shared, generation, begun, why, now);
}

/// Handles a rejected credential that has expired meanwhile, and is not probed: its source is called,
/// or its account is retired.
#[cold]
pub(crate) fn retire_expired(shared: &Arc<Shared>, generation: &Arc<Generation>, now: u64) {
    let over = generation.account.minting_source().map(|source| source.flight().over());
    match over {
        Some(None) => {
            shared.change(generation, |state| state.rejected_expired(now));
            renew(shared, generation, now);
        }
        Some(Some(_)) | None => {
            shared.change(generation, GenerationState::retired);
        }
    }
}

/// Updates the state to the answer of [`begin`](crate::pool::account::single_flight::Refresh::begin).
fn apply_begin(
    shared: &Arc<Shared>,
    generation: &Arc<Generation>,
    begun: Begin,
    why: RefreshReason,
    now: u64,
) {
    match begun {
        Begin::Started => {
            shared.change(generation, GenerationState::asked);
            task::start(shared, generation, why, now);
        }
        Begin::UnderWay => {
            shared.change(generation, GenerationState::asked);
            // The call may have ended in between, before this change of the state.
            let Some(source) = generation.account.minting_source() else { return };
            let again = source.flight().begin(now);
            if again != Begin::UnderWay {
                apply_begin(shared, generation, again, why, now);
            }
        }
        Begin::Later(at) => {
            let good = generation.is_good(now);
            settle_unrenewed(shared, generation, good, at, now);
            generation.lifetime.check_at(at);
        }
        Begin::Over(reason) => {
            retire_unrenewed(shared, generation, reason, None);
        }
    }
}

/// Retires the account of an expired credential without a source, and reports that.
pub(crate) fn expire(shared: &Shared, generation: &Arc<Generation>) {
    let change = shared.change(generation, GenerationState::expired);
    if let Some(change) = change.filter(Change::is_loss) {
        shared.report_out(generation, &change, OutReason::Expired, None, &mut Now::unread());
    }
}

/// Calls the source of a rejected credential that is probed: it may have another by now.
pub(crate) fn refresh_beside_probe(shared: &Arc<Shared>, generation: &Arc<Generation>, now: u64) {
    let Some(source) = generation.account.minting_source() else { return };
    let reason = generation.state().reason();
    if source.can_renew_after(reason) && source.flight().begin(now) == Begin::Started {
        task::start(shared, generation, RefreshReason::Rejected(reason), now);
    }
}
