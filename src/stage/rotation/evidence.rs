//! What each verdict means for the account that was used, and for the others.

use super::{
    select::is_refreshing,
    stage::{Rotation, RotationState},
};
use crate::{
    classify::{ModelFault, Reason, Verdict},
    pool::{Cascade, lease::Lease},
    stage::{Facts, Ledger},
};

impl Rotation {
    pub(super) fn apply_verdict(&self, lease: &mut Lease, facts: &mut Facts<'_>) {
        match facts.verdict {
            Verdict::Unauthorized(reason) => self.note_rejection(lease, reason, facts),
            Verdict::Limited { delay } => {
                let model = facts.model.get().ok();
                lease.limited(model.as_deref(), delay, facts.now);
            }
            Verdict::OutOfQuota { delay } => lease.out_of_quota(delay, facts.status, facts.now),
            Verdict::ModelFault { fault: ModelFault::NotFound, .. } => {
                match facts.model.get().ok() {
                    Some(model) => lease.model_missing(&model, facts.verdict.delay(), facts.now),
                    None => lease.healthy_failure(),
                }
            }
            Verdict::Forbidden | Verdict::ModelFault { .. } => lease.healthy_failure(),
            // A success is told otherwise.
            Verdict::Transient { .. } | Verdict::Rejected | Verdict::Success => {
                lease.inconclusive();
            }
        }
    }

    fn note_rejection(&self, lease: &mut Lease, reason: Reason, facts: &mut Facts<'_>) {
        lease.rejected(reason, facts.status, facts.now);
        let Some(ledger) = facts.ledger else { return };
        ledger.note_rejected(self.pool.id(), lease.uid(), lease.generation());
        self.cascade(lease, facts);
    }

    /// A revoked credential keeps the request from others of its group, unless its source makes
    /// another all the same. Whether it does is known when it has been asked.
    pub(super) fn cascade(&self, lease: &Lease, facts: &Facts<'_>) {
        let Some(ledger) = facts.ledger else { return };
        let revoked = facts.verdict == Verdict::Unauthorized(Reason::Revoked);
        if revoked && !lease.is_renewing() {
            match (self.pool.cascade(), lease.group()) {
                (Cascade::Never, _) => ledger.stop_rotation(),
                (Cascade::SameGroup, Some(group)) => ledger.close_group(self.pool.id(), group),
                _ => {}
            }
        }
    }

    /// Whether the account that was refused may be sent with its next credential: once for each
    /// request.
    pub(super) fn may_replay(&self, lease: &Lease, facts: &Facts<'_>) -> bool {
        let known = |ledger: &Ledger| ledger.rejections_of(self.pool.id(), lease.uid()) <= 1;
        facts.verdict.is_unauthorized()
            && facts.ledger.is_some_and(|ledger| known(ledger) && !ledger.is_rotation_stopped())
    }

    /// Whether nobody can serve now, but another account will once its source has answered.
    pub(super) fn others_are_refreshing(&self, st: &RotationState, facts: &mut Facts<'_>) -> bool {
        let stopped = facts.ledger.is_some_and(Ledger::is_rotation_stopped);
        // A limit is an answer of its own.
        if stopped || !facts.verdict.is_unauthorized() {
            return false;
        }
        is_refreshing(&self.pool, &st.tried, &mut facts.ask(None))
    }

    /// Whether another account may help after this verdict.
    pub(super) fn applies_to(&self, facts: &Facts<'_>) -> bool {
        match facts.verdict {
            // A gate below may have found out, before sending, that this credential died meanwhile.
            Verdict::Unauthorized(_) => !facts.charged && (!facts.local || facts.unsent),
            Verdict::Limited { .. } | Verdict::OutOfQuota { .. } => !facts.local && !facts.charged,
            // A rotation below has tried all that there are.
            Verdict::Forbidden => self.forbidden && !facts.local && !facts.charged,
            _ => false,
        }
    }
}
