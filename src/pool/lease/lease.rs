//! An account that was chosen for one attempt, and what the attempt shows about it.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

use super::in_flight::InFlight;
use crate::{
    classify::Reason,
    clock::Now,
    pool::{
        Selection,
        account::{Generation, Kind, Member, Models, Since, Tried, Word, millis},
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
    tried: Option<Box<Tried>>,
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
        tried: Option<Tried>,
        one_header: bool,
    ) -> Self {
        let member = &generation.member;
        let counted = member.shared.settings.selection == Selection::LeastInFlight;
        if counted {
            member.open.fetch_add(1, Ordering::Relaxed);
        }
        let flags = if counted { OPEN } else { 0 } | if one_header { ONE_HEADER } else { 0 };
        let flags = AtomicU8::new(flags);
        Self { generation, since, tried: tried.map(Box::new), flags }
    }

    /// An account that is taken in its turn, of a pool that counts no requests in flight.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn of_turn(generation: Arc<Generation>, seen: Word, one_header: bool) -> Self {
        let flags = AtomicU8::new(if one_header { ONE_HEADER } else { 0 });
        Self { generation, since: Since { seen, probe: false }, tried: None, flags }
    }

    /// The account's number, unique in the process.
    pub(crate) fn uid(&self) -> u32 {
        self.generation.member.uid
    }

    /// The account's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.generation.member.id
    }

    /// The generation of its credential.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The account's group, as [`Avoid`](super::Avoid) knows it.
    pub(crate) fn group(&self) -> Option<u32> {
        self.generation.member.group
    }

    /// Whether some model of the account rests: then choosing it needs to know which is wanted.
    pub(crate) fn has_model_rests(&self) -> bool {
        self.since.seen.has_model_rests()
    }

    /// Whether this attempt finds out if a refused credential is good again.
    pub(crate) fn is_probe(&self) -> bool {
        self.since.probe
    }

    /// Whether the credential may still be sent: it was not refused or replaced since, and its
    /// account not removed or retired.
    pub(crate) fn still_good(&self) -> bool {
        let word = self.generation.word();
        !word.is_closed() && (word.may_be_sent() || word.is_probe_of(self.since))
    }

    /// Whether the credential has ended since it was chosen. Reads the clock only if it ever ends.
    pub(crate) fn has_ended(&self, now: &mut Now) -> bool {
        let ages = &self.generation.ages;
        !ages.is_young(|| self.shared().passed(now.get()))
            && ages.is_dead(self.shared().passed(now.get()))
    }

    /// Whether its source has been asked for another credential, or has given it.
    pub(crate) fn is_renewed(&self) -> bool {
        let word = self.generation.word();
        word.is_closed() || word.is_renewed()
    }

    /// Whether its source is being asked for the account's next credential.
    pub(crate) fn is_under_way(&self) -> bool {
        let member = &self.generation.member;
        let roster = member.shared.roster.load();
        let slot = roster.position(member).and_then(|at| roster.slots.get(at));
        slot.is_some_and(|slot| slot.word().is_under_way())
    }

    /// The attempt goes out.
    pub(crate) fn sent(&self) {
        self.generation.member.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.flag(SENT);
    }

    /// The upstream did what it was asked for, and says what is left of the account's limit.
    pub(crate) fn succeeded(&mut self, remaining: Option<u64>) {
        self.ended(|member| &member.counts.succeeded);
        if let Some(remaining) = remaining {
            self.note_remaining(remaining);
        }
        if let Some(tried) = self.tried.take() {
            self.generation.models(|models| models.succeeded(&tried));
        }
        // Nothing is written once it is known to be good.
        let since = self.spent();
        self.change(|word| word.succeeded(since));
    }

    /// What is left of the account's limit, as an answer's rate-limit headers say.
    pub(crate) fn note_remaining(&self, remaining: u64) {
        self.generation.member.remaining.store(remaining, Ordering::Relaxed);
    }

    /// The upstream refused the credential.
    pub(crate) fn refused(
        &mut self,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) -> Refusal {
        self.ended(|member| &member.counts.refused);
        let mut since = self.spent();
        if let Some(longer) = self.shared().longer(&self.generation) {
            since = Since { seen: longer.word(), probe: false };
            self.generation = longer;
        }
        let shared = self.shared();
        let at = shared.passed(now.get());
        let change = shared.refuse(&self.generation, |_| since, reason, at);
        let Some(change) = change else {
            let word = self.generation.word();
            let out = !word.is_closed() && !word.is_alive();
            let rest = if out { shared.remaining(word.until(), now.get()) } else { Duration::ZERO };
            return Refusal { won: false, rest };
        };
        shared.tell_refusal(&self.generation, &change, reason, status, now);
        shared.renew(&self.generation, at);
        let rest = shared.remaining(change.is.until(), now.get());
        Refusal { won: change.is_loss(), rest }
    }

    /// Too many requests: the model rests when it is known, else the account.
    pub(crate) fn limited(&mut self, model: Option<&str>, delay: Option<Duration>, now: &mut Now) {
        self.ended(|member| &member.counts.limited);
        let since = self.spent();
        let shared = self.shared();
        let (at, rests) = (shared.passed(now.get()), &shared.settings.rests);
        let delay = delay.map(millis);
        match model {
            Some(model) => {
                self.models(|models| models.limited(model, delay, rests, at));
                self.change(|word| word.vouched(since));
            }
            None => {
                self.let_rest(at, |word| word.limited(since, delay, rests, at));
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
        self.ended(|member| &member.counts.limited);
        let since = self.spent();
        let shared = self.shared();
        let (at, rests) = (shared.passed(now.get()), &shared.settings.rests);
        let change =
            self.let_rest(at, |word| word.out_of_quota(since, delay.map(millis), rests, at));
        if let Some(change) = change {
            // One incident for each rest, however often it grows.
            let within = change.was.kind() == Kind::Quota && change.was.until() > at;
            if change.is.kind() == Kind::Quota && !within {
                shared.tell(&self.generation, &change, OutReason::OutOfQuota, status, now);
            }
        }
    }

    /// The account does not have the model.
    pub(crate) fn model_missing(&mut self, model: &str, delay: Option<Duration>, now: &mut Now) {
        let shared = self.shared();
        let (at, rests) = (shared.passed(now.get()), &shared.settings.rests);
        let rest = delay.map_or(rests.model, millis).min(rests.max_rest);
        self.models(|models| models.rest(model, at, rest));
        self.healthy_failure();
    }

    /// The attempt failed in a way that shows the credential to be good.
    pub(crate) fn healthy_failure(&mut self) {
        self.ended(|member| &member.counts.other);
        let since = self.spent();
        self.change(|word| word.vouched(since));
    }

    /// The attempt showed nothing about the credential.
    pub(crate) fn inconclusive(&mut self) {
        self.ended(|member| &member.counts.other);
        if self.since.probe {
            let since = self.spent();
            self.change(|word| word.given_back(since));
        }
    }

    /// Keeps the request in flight until it is dropped; `Some` only when the pool chooses by that.
    pub(crate) fn in_flight_guard(&self) -> Option<InFlight> {
        let open = self.take_flag(OPEN);
        open.then(|| InFlight(Arc::clone(&self.generation.member)))
    }

    /// What the attempt knew; if it was a probe, it is one no longer.
    fn spent(&mut self) -> Since {
        let since = self.since;
        self.since.probe = false;
        since
    }

    fn shared(&self) -> &Shared {
        &self.generation.member.shared
    }

    fn change(&self, f: impl Fn(Word) -> Option<Word>) -> Option<Change> {
        let change = self.shared().change(&self.generation, f)?;
        self.shared().note_health();
        Some(change)
    }

    /// Evidence about the account's rest.
    fn let_rest(&self, now: u64, f: impl Fn(Word) -> Option<Word>) -> Option<Change> {
        let (_, change) = self.shared().let_rest(&self.generation, now, f);
        let change = change?;
        self.shared().note_health();
        Some(change)
    }

    /// Evidence about a model. Like the state, the table belongs to the generation.
    fn models(&self, f: impl FnOnce(&mut Models) -> bool) {
        if self.generation.models(f) {
            self.shared().note_model_rest();
        }
    }

    /// Counts how the attempt ended, once.
    fn ended(&self, count: impl Fn(&Member) -> &AtomicU64) {
        if self.take_flag(SENT) {
            count(&self.generation.member).fetch_add(1, Ordering::Relaxed);
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
            self.generation.member.open.fetch_sub(1, Ordering::Relaxed);
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
