//! Asking a source: once for each account at a time, in a task of its own, and for all who wait.

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

/// A credential whose time to be looked at has come: whether a request may be given it.
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

/// A credential that may not be sent, or not yet: its source is asked, if it is time to.
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

/// A refused credential that has ended meanwhile is not probed: another is asked for, if any
/// ever comes.
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

/// Brings the state into step with whether the source is asked.
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
            // It may have ended in between, and not have seen what this request has done.
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

/// A credential that nothing replaces has ended.
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
