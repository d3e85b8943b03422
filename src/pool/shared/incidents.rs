//! What a pool tells of its accounts, each once.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::shared::{Change, Shared};
use crate::{
    classify::Reason,
    clock::Now,
    pool::account::{Generation, Kind, PooledAccount},
    report::{AccountOut, AccountTag, Event, OutReason, PoolDead},
    sync::Ordering,
};

impl Shared {
    /// The account as people find it in their configuration.
    pub(crate) fn tag(&self, account: &PooledAccount) -> AccountTag {
        let of = self.len.load(Ordering::Relaxed);
        let ordinal = account.ordinal.load(Ordering::Relaxed) as usize;
        AccountTag { id: Arc::clone(&account.id), ordinal, of }
    }

    /// Tells of an account that is out; of the pool instead, when it was the last one.
    pub(crate) fn report_out(
        &self,
        generation: &Generation,
        change: &Change,
        reason: OutReason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        let mut out = self.describe_out(generation, change, reason, now);
        out.status = status;
        self.report_account_out(out, change);
    }

    /// What there is to tell of an account that is out.
    pub(crate) fn describe_out(
        &self,
        generation: &Generation,
        change: &Change,
        reason: OutReason,
        now: &mut Now,
    ) -> AccountOut {
        let account = self.tag(&generation.account);
        let mut out = AccountOut::new(account, generation.number, reason, None, Duration::MAX);
        if change.is.kind() != Kind::Retired {
            out.out_for = self.remaining(change.is.until(), now.get());
        }
        if reason.is_expiry() {
            let ended = generation.lifetime.ended(|| self.passed(now.get()));
            (out.expired_at, out.expired_ago) = ended.unzip();
        }
        out
    }

    /// Tells that.
    pub(crate) fn report_account_out(&self, out: AccountOut, change: &Change) {
        if !change.last {
            return self.settings.reporter.report(&Event::AccountOut(out));
        }
        let dead =
            PoolDead { accounts: out.account.of, cause: out, help: self.settings.help.clone() };
        self.report_death(&dead);
        self.settings.reporter.report(&Event::PoolDead(dead));
    }

    /// Whether a change took a living account out. One that was told to be out, and whose source has
    /// not helped, is no news; but that it left a pool dead that was not, or was well again, is.
    pub(crate) fn is_incident(&self, change: &Change) -> bool {
        let again = change.was.was_reported();
        change.is_loss() && (!again || change.last && !self.dead.load(Ordering::SeqCst))
    }

    /// Tells of a refusal, if it took a living account out.
    pub(crate) fn report_rejection(
        &self,
        generation: &Generation,
        change: &Change,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        if self.is_incident(change) {
            self.report_out(generation, change, OutReason::Rejected(reason), status, now);
        }
    }
}
