//! Asking a source: once for each account at a time, in a task of its own, and for all who wait.

use std::{sync::Arc, time::Duration};

use super::task;
use crate::{
    classify::Reason,
    clock::Now,
    credential::{RefreshReason, SourceError, Token},
    pool::{
        account::{Begin, End, Generation, GenerationState, PooledAccount, Source},
        shared::{Change, Shared},
    },
    report::{Event, OutReason, TokenEvent, TokenEventKind, text::foreign},
};

impl Shared {
    /// A credential whose time to be looked at has come: whether a request may be given it.
    #[cold]
    pub(crate) fn check_expiry(&self, generation: &Arc<Generation>, now: u64) -> bool {
        let lifetime = &generation.lifetime;
        let dead = lifetime.is_expired(now);
        let Some(source) = generation.account.minting_source() else {
            if dead {
                self.expire(generation);
            }
            return !dead;
        };
        let begun = source.flight().begin(now);
        let waits = now >= lifetime.wait;
        match begun {
            _ if dead => {
                self.change(generation, |state| state.ended(now));
                self.apply_begin(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Started | Begin::UnderWay if waits => {
                self.change(generation, GenerationState::expiring);
                self.apply_begin(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Started | Begin::UnderWay => {
                lifetime.sync_index(lifetime.wait);
                self.apply_begin(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Later(at) => lifetime.sync_index(at),
            Begin::Over(_) => lifetime.sync_index(lifetime.dead),
        }
        !dead && generation.state().may_be_sent() && !generation.state().is_renewing()
    }

    /// A credential that may not be sent, or not yet: its source is asked, if it is time to.
    #[cold]
    pub(crate) fn renew(&self, generation: &Arc<Generation>, now: u64) {
        let state = generation.state();
        if !state.is_renewing() || state.until() > now {
            return;
        }
        let Some(source) = generation.account.minting_source() else { return };
        let why = generation.why();
        let mut flight = source.flight();
        let begun =
            if why.is_rejected() { flight.begin_after_rejection(now) } else { flight.begin(now) };
        drop(flight);
        self.apply_begin(generation, begun, why, now);
    }

    /// A refused credential that has ended meanwhile is not probed: another is asked for, if any
    /// ever comes.
    #[cold]
    pub(crate) fn retire_expired(&self, generation: &Arc<Generation>, now: u64) {
        let over = generation.account.minting_source().map(|source| source.flight().over());
        match over {
            Some(None) => {
                self.change(generation, |state| state.rejected_expired(now));
                self.renew(generation, now);
            }
            Some(Some(_)) | None => {
                self.change(generation, GenerationState::retired);
            }
        }
    }

    /// Brings the state into step with whether the source is asked.
    fn apply_begin(
        &self,
        generation: &Arc<Generation>,
        begun: Begin,
        why: RefreshReason,
        now: u64,
    ) {
        match begun {
            Begin::Started => {
                self.change(generation, GenerationState::asked);
                task::start(generation, why, now);
            }
            Begin::UnderWay => {
                self.change(generation, GenerationState::asked);
                // It may have ended in between, and not have seen what this request has done.
                let Some(source) = generation.account.minting_source() else { return };
                let again = source.flight().begin(now);
                if again != Begin::UnderWay {
                    self.apply_begin(generation, again, why, now);
                }
            }
            Begin::Later(at) => {
                let good = generation.is_good(now);
                self.settle_unrenewed(generation, good, at, now);
                generation.lifetime.sync_index(at);
            }
            Begin::Over(reason) => {
                self.retire_unrenewed(generation, reason, None);
            }
        }
    }

    /// Whoever heard that the source was being asked, when that had just ended, is not kept waiting.
    pub(crate) fn clear_asking(&self, account: &Arc<PooledAccount>, now: u64) {
        let roster = self.roster.load();
        let entry = roster.position(account).and_then(|at| roster.entries.get(at));
        if let Some(entry) = entry {
            let under_way = |state: GenerationState| state.not_asked(now);
            self.change(&entry.current.load(), under_way);
        }
    }

    /// Its source gives no other: an account without a credential is out. Whether that was told, with
    /// what the source has just said.
    fn retire_unrenewed(
        &self,
        generation: &Arc<Generation>,
        reason: Reason,
        error: Option<&SourceError>,
    ) -> bool {
        let change = self.change(generation, |state| state.retired_unrenewed(reason));
        let Some(change) = change.filter(|change| self.is_incident(change)) else { return false };
        let reason = OutReason::RefreshFailed(reason);
        let mut out = self.describe_out(generation, &change, reason, &mut Now::unread());
        out.error = error.map(|error| foreign(&error.to_string(), self));
        self.report_account_out(out, &change);
        true
    }

    /// A credential that nothing replaces has ended.
    pub(crate) fn expire(&self, generation: &Arc<Generation>) {
        let change = self.change(generation, GenerationState::expired);
        if let Some(change) = change.filter(Change::is_loss) {
            self.report_out(generation, &change, OutReason::Expired, None, &mut Now::unread());
        }
    }

    /// The source gave no other.
    pub(crate) fn gave_none(&self, generation: &Arc<Generation>, error: &SourceError, now: u64) {
        let end = match error.reason() {
            Some(reason) => End::Over(reason),
            None => End::Failed(error.retry_after()),
        };
        self.note_failure(generation, error, end, now);
    }

    /// The source has not given another in time, and is asked on.
    pub(crate) fn gave_late(&self, generation: &Arc<Generation>, error: &SourceError, now: u64) {
        self.note_failure(generation, error, End::Late, now);
    }

    fn note_failure(&self, generation: &Arc<Generation>, error: &SourceError, end: End, now: u64) {
        let Some(source) = generation.account.minting_source() else { return };
        let (until, first) = source.flight().end(end, now, fastrand::f64());
        let good = generation.is_good(now);
        let report = || self.report_not_renewed(generation, error, good, until, now);
        let Some(reason) = error.reason() else {
            if first {
                report();
            }
            self.settle_unrenewed(generation, good, until, now);
            return generation.lifetime.sync_index(until);
        };
        self.settle_unrenewed(generation, good, until, now);
        generation.lifetime.sync_index(generation.lifetime.dead);
        // One cause is one incident.
        if !self.retire_unrenewed(generation, reason, Some(error)) && first {
            report();
        }
    }

    /// It goes on with what it has, if that is `good`, else with nothing until `until`.
    fn settle_unrenewed(&self, generation: &Generation, good: bool, until: u64, now: u64) {
        let kept = &generation.account.kept;
        self.change(generation, |state| state.not_renewed(good, until, kept.get(now), now));
        // One may have come in between.
        self.restore_cooldown(generation, now);
    }

    fn report_not_renewed(
        &self,
        generation: &Arc<Generation>,
        error: &SourceError,
        good: bool,
        until: u64,
        now: u64,
    ) {
        let left = |at: u64| Duration::from_millis(at.saturating_sub(now));
        let dead = generation.lifetime.dead;
        let valid_for = if dead == u64::MAX { Duration::MAX } else { left(dead) };
        let changed = TokenEventKind::RefreshFailed {
            error: foreign(&error.to_string(), self),
            reason: error.reason(),
            valid_for: good.then_some(valid_for),
            next_call_in: (!error.is_terminal()).then(|| left(until)),
        };
        self.report_token(generation, changed);
    }

    pub(crate) fn report_token(&self, generation: &Generation, changed: TokenEventKind) {
        let account = self.tag(&generation.account);
        let event = TokenEvent::new(account, generation.number, changed);
        self.settings.reporter.report(&Event::Token(event));
    }

    /// The source gave the credential that is there already.
    pub(crate) fn gave_same(
        &self,
        generation: &Arc<Generation>,
        token: &Token,
        why: RefreshReason,
        now: u64,
    ) {
        let Some(source) = generation.account.minting_source() else { return };
        if why.is_rejected() || generation.state().was_rejected() {
            source.flight().end(End::Overtaken, now, 0.0);
            if !why.is_rejected() {
                // It was refused after its source was asked, which may yet have another.
                return;
            }
            let cooldowns = &self.settings.cooldowns;
            let change = self.change(generation, |state| state.rejection_confirmed(cooldowns, now));
            self.restore_cooldown(generation, now);
            if let Some(change) = change {
                self.report_rejection(
                    generation,
                    &change,
                    generation.state().reason(),
                    None,
                    &mut Now::unread(),
                );
            }
        } else if !generation.is_good(now) {
            let what = "the source gives the token that has ended";
            self.gave_none(generation, &SourceError::transient(what), now);
        } else {
            // No failure: the next one is not there yet.
            let random = fastrand::f64();
            let (again, _) = source.flight().end(End::Same(token.refresh_in), now, random);
            self.settle_unrenewed(generation, true, again, now);
            let wait = generation.lifetime.wait;
            generation.lifetime.sync_index(if now < wait { again.min(wait) } else { again });
        }
    }
}

// === impl Generation, Member ===

impl Generation {
    /// A refused credential is probed: its source may have another by now.
    pub(crate) fn refresh_beside_probe(self: &Arc<Self>, now: u64) {
        let Some(source) = self.account.minting_source() else { return };
        let reason = self.state().reason();
        if source.can_renew_after(reason) && source.flight().begin(now) == Begin::Started {
            task::start(self, RefreshReason::Rejected(reason), now);
        }
    }

    /// Whether it may still be sent.
    fn is_good(&self, now: u64) -> bool {
        let state = self.state();
        state.may_be_sent() && !state.is_closed() && !self.lifetime.is_expired(now)
    }

    /// Why its source is asked for another.
    fn why(&self) -> RefreshReason {
        let state = self.state();
        if !self.credential.is_loaded() {
            RefreshReason::First
        } else if state.was_rejected() {
            RefreshReason::Rejected(state.reason())
        } else {
            RefreshReason::Expiring
        }
    }
}

impl PooledAccount {
    /// Its feed, if it has somebody to ask.
    pub(crate) fn minting_source(&self) -> Option<&Source> {
        self.source.as_deref().filter(|source| source.minting.is_some())
    }
}
