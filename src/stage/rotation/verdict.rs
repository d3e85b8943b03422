//! The effect of each verdict: on the account that was used, on its group, and on who may help.

use super::select::is_refreshing;
use crate::{
    classify::{ModelFault, Reason, Verdict},
    pool::{Cascade, Pool, lease::Lease},
    stage::{Facts, Ledger},
};

/// Applies a verdict to the account that was used.
pub(super) fn apply_verdict(pool: &Pool, lease: &mut Lease, facts: &mut Facts<'_>) {
    match facts.verdict {
        Verdict::Unauthorized(reason) => note_rejection(pool, lease, reason, facts),
        Verdict::Limited { delay } => {
            let model = facts.model.get().ok();
            pool.limited(lease, model.as_deref(), delay, facts.now);
        }
        Verdict::OutOfQuota { delay } => pool.out_of_quota(lease, delay, facts.status, facts.now),
        Verdict::ModelFault { fault: ModelFault::NotFound, .. } => match facts.model.get().ok() {
            Some(model) => pool.model_missing(lease, &model, facts.verdict.delay(), facts.now),
            None => pool.healthy_failure(lease),
        },
        Verdict::Forbidden | Verdict::ModelFault { .. } => pool.healthy_failure(lease),
        // A success takes another path.
        Verdict::Transient { .. } | Verdict::Rejected | Verdict::Success => lease.inconclusive(),
    }
}

fn note_rejection(pool: &Pool, lease: &mut Lease, reason: Reason, facts: &mut Facts<'_>) {
    pool.rejected(lease, reason, facts.status, facts.now);
    let Some(ledger) = facts.ledger else { return };
    ledger.note_rejected(pool.id(), lease.uid(), lease.generation());
    cascade(pool, lease, facts);
}

/// Closes the account's group for this request if its credential was revoked.
///
/// The group stays open if the account's source can still make another token, which is known only
/// after it was called.
pub(super) fn cascade(pool: &Pool, lease: &Lease, facts: &Facts<'_>) {
    let Some(ledger) = facts.ledger else { return };
    let revoked = facts.verdict == Verdict::Unauthorized(Reason::Revoked);
    if revoked && !lease.is_renewing() {
        match (pool.cascade(), lease.group()) {
            (Cascade::Never, _) => ledger.stop_rotation(),
            (Cascade::SameGroup, Some(group)) => ledger.close_group(pool.id(), group),
            _ => {}
        }
    }
}

/// Returns whether the account that was rejected may be used with its next credential, which happens
/// once for each request.
pub(super) fn may_replay(pool: &Pool, lease: &Lease, facts: &Facts<'_>) -> bool {
    let first = |ledger: &Ledger| ledger.rejections_of(pool.id(), lease.uid()) <= 1;
    facts.verdict.is_unauthorized()
        && facts.ledger.is_some_and(|ledger| first(ledger) && !ledger.is_rotation_stopped())
}

/// Returns whether no account can serve now, but another one can after a refresh in progress.
pub(super) fn others_are_refreshing(
    pool: &Pool,
    tried: &[(u32, u64)],
    facts: &mut Facts<'_>,
) -> bool {
    let stopped = facts.ledger.is_some_and(Ledger::is_rotation_stopped);
    // A 429 is a useful answer, so it is not held back for a refresh.
    if stopped || !facts.verdict.is_unauthorized() {
        return false;
    }
    is_refreshing(pool, tried, &mut facts.ask(None))
}

/// Returns whether another account may help after this verdict. `forbidden` includes a 403.
pub(super) fn may_help(forbidden: bool, facts: &Facts<'_>) -> bool {
    match facts.verdict {
        // A gate further in may reject a credential before it is sent, if it died meanwhile.
        Verdict::Unauthorized(_) => !facts.charged && (!facts.local || facts.unsent),
        Verdict::Limited { .. } | Verdict::OutOfQuota { .. } => !facts.local && !facts.charged,
        // A rotation further in has tried all accounts.
        Verdict::Forbidden => forbidden && !facts.local && !facts.charged,
        _ => false,
    }
}
