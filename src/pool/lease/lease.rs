//! An account that was chosen for one attempt, and what the attempt shows about it.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use super::in_flight::InFlight;
use crate::{
    classify::Reason,
    clock::Now,
    pool::{
        Selection,
        account::{
            Generation, GenerationState, Kind, ModelCooldowns, PooledAccount, Since, TriedModel,
            millis,
        },
        select::Refusal,
        shared::{Change, Shared},
    },
    report::OutReason,
    sync::{AtomicU8, AtomicU64, Ordering},
};

/// One generation of an account's credential, for one attempt.
///
/// Dropping it without an outcome gives back a probe that was not used, and ends the attempt.
pub(crate) struct Lease {
    pub(crate) generation: Arc<Generation>,
    since: Since,
    /// The model's rest, which a success ends.
    tried: Option<Box<TriedModel>>,
    flags: AtomicU8,
}

/// The request was sent, and no outcome is known.
const SENT: u8 = 1;
/// It counts as in flight, and this ends it.
const OPEN: u8 = 2;
/// When it was chosen, all accounts of the pool put a credential into the same header, and no more.
const ONE_HEADER: u8 = 4;

impl Lease {
    pub(crate) fn new(
        generation: Arc<Generation>,
        since: Since,
        tried: Option<TriedModel>,
        one_header: bool,
    ) -> Self {
        let account = &generation.account;
        let counted = account.shared.settings.selection == Selection::LeastInFlight;
        if counted {
            account.open.fetch_add(1, Ordering::Relaxed);
        }
        let flags = if counted { OPEN } else { 0 } | if one_header { ONE_HEADER } else { 0 };
        let flags = AtomicU8::new(flags);
        Self { generation, since, tried: tried.map(Box::new), flags }
    }

    /// An account that is taken in its turn, of a pool that counts no requests in flight.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn of_turn(
        generation: Arc<Generation>,
        seen: GenerationState,
        one_header: bool,
    ) -> Self {
        let flags = AtomicU8::new(if one_header { ONE_HEADER } else { 0 });
        Self { generation, since: Since { seen, probe: false }, tried: None, flags }
    }

    /// The account's number, unique in the process.
    pub(crate) fn uid(&self) -> u32 {
        self.generation.account.uid
    }

    /// The account's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.generation.account.id
    }

    /// The generation of its credential.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The account's group, as [`Avoid`](super::Avoid) knows it.
    pub(crate) fn group(&self) -> Option<u32> {
        self.generation.account.group
    }

    /// Whether some model of the account rests: then choosing it needs to know which is wanted.
    pub(crate) fn has_model_cooldowns(&self) -> bool {
        self.since.seen.has_model_cooldowns()
    }

    /// Whether this attempt finds out if a refused credential is good again.
    pub(crate) fn is_probe(&self) -> bool {
        self.since.probe
    }

    /// Whether the credential may still be sent: it was not refused or replaced since, and its
    /// account not removed or retired.
    pub(crate) fn still_good(&self) -> bool {
        let state = self.generation.state();
        !state.is_closed() && (state.may_be_sent() || state.is_probe_of(self.since))
    }

    /// Whether the credential has ended since it was chosen. Reads the clock only if it ever ends.
    pub(crate) fn has_ended(&self, now: &mut Now) -> bool {
        let lifetime = &self.generation.lifetime;
        !lifetime.is_fresh(|| self.shared().passed(now.get()))
            && lifetime.is_expired(self.shared().passed(now.get()))
    }

    /// Whether its source has been asked for another credential, or has given it.
    pub(crate) fn is_renewing(&self) -> bool {
        let state = self.generation.state();
        state.is_closed() || state.is_renewing()
    }

    /// Whether its source is being asked for the account's next credential.
    pub(crate) fn is_under_way(&self) -> bool {
        let account = &self.generation.account;
        let roster = account.shared.roster.load();
        let entry = roster.position(account).and_then(|at| roster.entries.get(at));
        entry.is_some_and(|entry| entry.state().is_under_way())
    }

    /// The attempt goes out.
    pub(crate) fn sent(&self) {
        self.generation.account.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.flag(SENT);
    }

    /// The upstream did what it was asked for, and says what is left of the account's limit.
    pub(crate) fn succeeded(&mut self, remaining: Option<u64>) {
        self.count_outcome(|account| &account.counts.succeeded);
        if let Some(remaining) = remaining {
            self.note_remaining(remaining);
        }
        if let Some(tried) = self.tried.take() {
            self.generation.model_cooldowns(|models| models.succeeded(&tried));
        }
        // Nothing is written once it is known to be good.
        let since = self.take_since();
        self.change(|state| state.succeeded(since));
    }

    /// What is left of the account's limit, as an answer's rate-limit headers say.
    pub(crate) fn note_remaining(&self, remaining: u64) {
        self.generation.account.remaining.store(remaining, Ordering::Relaxed);
    }

    /// The upstream refused the credential.
    pub(crate) fn rejected(
        &mut self,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) -> Refusal {
        self.count_outcome(|account| &account.counts.rejected);
        let mut since = self.take_since();
        if let Some(extended) = self.shared().extended(&self.generation) {
            since = Since { seen: extended.state(), probe: false };
            self.generation = extended;
        }
        let shared = self.shared();
        let at = shared.passed(now.get());
        let change = shared.reject(&self.generation, |_| since, reason, at);
        let Some(change) = change else {
            let state = self.generation.state();
            let out = !state.is_closed() && !state.is_alive();
            let rest =
                if out { shared.remaining(state.until(), now.get()) } else { Duration::ZERO };
            return Refusal { won: false, rest };
        };
        shared.report_rejection(&self.generation, &change, reason, status, now);
        shared.renew(&self.generation, at);
        let rest = shared.remaining(change.is.until(), now.get());
        Refusal { won: change.is_loss(), rest }
    }

    /// Too many requests: the model rests when it is known, else the account.
    pub(crate) fn limited(&mut self, model: Option<&str>, delay: Option<Duration>, now: &mut Now) {
        self.count_outcome(|account| &account.counts.limited);
        let since = self.take_since();
        let shared = self.shared();
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let delay = delay.map(millis);
        match model {
            Some(model) => {
                self.change_models(|models| models.limited(model, delay, cooldowns, at));
                self.change(|state| state.probe_healthy(since));
            }
            None => {
                self.note_cooldown(at, |state| state.limited(since, delay, cooldowns, at));
            }
        }
    }

    /// The account has no quota left.
    pub(crate) fn out_of_quota(
        &mut self,
        delay: Option<Duration>,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        self.count_outcome(|account| &account.counts.limited);
        let since = self.take_since();
        let shared = self.shared();
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let change = self
            .note_cooldown(at, |state| state.out_of_quota(since, delay.map(millis), cooldowns, at));
        if let Some(change) = change {
            // One incident for each rest, however often it grows.
            let within = change.was.kind() == Kind::Quota && change.was.until() > at;
            if change.is.kind() == Kind::Quota && !within {
                shared.report_out(&self.generation, &change, OutReason::OutOfQuota, status, now);
            }
        }
    }

    /// The account does not have the model.
    pub(crate) fn model_missing(&mut self, model: &str, delay: Option<Duration>, now: &mut Now) {
        let shared = self.shared();
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let rest = delay.map_or(cooldowns.model, millis).min(cooldowns.max_rest);
        self.change_models(|models| models.cool_down(model, at, rest));
        self.healthy_failure();
    }

    /// The attempt failed in a way that shows the credential to be good.
    pub(crate) fn healthy_failure(&mut self) {
        self.count_outcome(|account| &account.counts.other);
        let since = self.take_since();
        self.change(|state| state.probe_healthy(since));
    }

    /// The attempt showed nothing about the credential.
    pub(crate) fn inconclusive(&mut self) {
        self.count_outcome(|account| &account.counts.other);
        if self.since.probe {
            let since = self.take_since();
            self.change(|state| state.probe_returned(since));
        }
    }

    /// Keeps the request in flight until it is dropped; `Some` only when the pool chooses by that.
    pub(crate) fn in_flight_guard(&self) -> Option<InFlight> {
        let open = self.take_flag(OPEN);
        open.then(|| InFlight(Arc::clone(&self.generation.account)))
    }

    /// What the attempt knew; if it was a probe, it is one no longer.
    fn take_since(&mut self) -> Since {
        let since = self.since;
        self.since.probe = false;
        since
    }

    fn shared(&self) -> &Shared {
        &self.generation.account.shared
    }

    fn change(&self, f: impl Fn(GenerationState) -> Option<GenerationState>) -> Option<Change> {
        let change = self.shared().change(&self.generation, f)?;
        self.shared().report_recovery();
        Some(change)
    }

    /// Evidence about the account's rest.
    fn note_cooldown(
        &self,
        now: u64,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> Option<Change> {
        let (_, change) = self.shared().note_cooldown(&self.generation, now, f);
        let change = change?;
        self.shared().report_recovery();
        Some(change)
    }

    /// Evidence about a model. Like the state, the table belongs to the generation.
    fn change_models(&self, f: impl FnOnce(&mut ModelCooldowns) -> bool) {
        if self.generation.model_cooldowns(f) {
            self.shared().note_model_cooldown();
        }
    }

    /// Counts how the attempt ended, once.
    fn count_outcome(&self, count: impl Fn(&PooledAccount) -> &AtomicU64) {
        if self.take_flag(SENT) {
            count(&self.generation.account).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether nothing but this one header is put on, or has to be taken off.
    pub(crate) fn is_one_header(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & ONE_HEADER != 0
    }

    // One attempt drives this: no two threads write the flags at once.

    fn flag(&self, flag: u8) {
        self.flags.store(self.flags.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }

    fn take_flag(&self, flag: u8) -> bool {
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(flags & !flag, Ordering::Relaxed);
        flags & flag != 0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inconclusive();
        if self.take_flag(OPEN) {
            self.generation.account.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("generation", &self.generation)
            .field("probe", &self.since.probe)
            .finish_non_exhaustive()
    }
}
