//! Reports of a pool about its accounts, each once.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::shared::{Change, Shared};
use crate::{
    classify::Reason,
    clock::Now,
    pool::account::{Generation, Kind, PooledAccount},
    report::{AccountOut, AccountTag, Event, OutReason, PoolDead, TokenEvent, TokenEventKind},
    sync::Ordering,
};

impl Shared {
    /// Returns the account as it is named in reports.
    pub(crate) fn tag(&self, account: &PooledAccount) -> AccountTag {
        let of = self.len.load(Ordering::Relaxed);
        let ordinal = account.ordinal.load(Ordering::Relaxed) as usize;
        AccountTag { id: Arc::clone(&account.id), ordinal, of }
    }

    /// Reports that an account is out, or that the pool is dead if it was the last one.
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

    /// Builds the report of an account that is out.
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

    /// Reports it, or the death of the pool.
    pub(crate) fn report_account_out(&self, out: AccountOut, change: &Change) {
        if !change.last {
            return self.settings.reporter.report(&Event::AccountOut(out));
        }
        let dead =
            PoolDead { accounts: out.account.of, cause: out, help: self.settings.help.clone() };
        self.report_death(&dead);
        self.settings.reporter.report(&Event::PoolDead(dead));
    }

    /// Returns whether a change is to be reported: it took a living account out, and that was not
    /// reported before its source was called, or it left a pool dead that was not reported dead.
    pub(crate) fn is_incident(&self, change: &Change) -> bool {
        let again = change.was.was_reported();
        // Ordering 5: pairs with the other accesses of `dead` here, and with `alive`.
        change.is_loss() && (!again || change.last && !self.dead.load(Ordering::SeqCst))
    }

    /// Reports a rejection, if it took a living account out.
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

    /// Reports the death of the pool to its hook.
    pub(crate) fn report_death(&self, dead: &PoolDead) {
        // Ordering 5: pairs with the other accesses of `dead` here, and with `alive`.
        self.dead.store(true, Ordering::SeqCst);
        if let Some(hook) = &self.settings.sources.on_dead {
            guarded(|| hook(dead));
        }
    }

    /// Reports the recovery of the pool to its hook. Must be called without a lock.
    pub(crate) fn report_recovery(&self) {
        // Ordering 5: pairs with the other accesses of `dead` here, and with `alive`.
        if !self.dead.load(Ordering::SeqCst) || self.alive() <= 0 {
            return;
        }
        // Ordering 5: pairs with the other accesses of `dead` here, and with `alive`.
        if self.dead.swap(false, Ordering::SeqCst) {
            if let Some(hook) = &self.settings.sources.on_recovered {
                guarded(|| hook());
            }
        }
    }

    pub(crate) fn report_token(&self, generation: &Generation, changed: TokenEventKind) {
        let account = self.tag(&generation.account);
        let event = TokenEvent::new(account, generation.number, changed);
        self.settings.reporter.report(&Event::Token(event));
    }

    /// Reports once that a credential had expired before it was put in.
    pub(crate) fn report_skew(&self, generation: &Generation, late: Option<Duration>) {
        let Some(late) = late else { return };
        if !self.skew_reported.swap(true, Ordering::Relaxed) {
            self.report_token(generation, TokenEventKind::ClockSkew { late });
        }
    }
}

/// Calls a hook, and catches its panic.
fn guarded(hook: impl FnOnce()) {
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook));
}
