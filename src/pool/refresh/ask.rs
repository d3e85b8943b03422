//! Asking a source: once for each account at a time, in a task of its own, and for all who wait.

use std::{sync::Arc, time::Duration};

use super::task;
use crate::{
    classify::Reason,
    clock::Now,
    credential::{RefreshReason, SourceError, Token},
    pool::{
        account::{Begin, End, Feed, Generation, Member, Word},
        shared::{Change, Shared},
    },
    report::{Event, OutReason, TokenEvent, TokenEventKind, text::foreign},
};

impl Shared {
    /// A credential whose time to be looked at has come: whether a request may be given it.
    #[cold]
    pub(crate) fn look_closer(&self, generation: &Arc<Generation>, now: u64) -> bool {
        let ages = &generation.ages;
        let dead = ages.is_dead(now);
        let Some(feed) = generation.member.asking() else {
            if dead {
                self.expire(generation);
            }
            return !dead;
        };
        let begun = feed.flight().begin(now);
        let waits = now >= ages.wait;
        match begun {
            _ if dead => {
                self.change(generation, |word| word.ended(now));
                self.follow(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Started | Begin::UnderWay if waits => {
                self.change(generation, Word::expiring);
                self.follow(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Started | Begin::UnderWay => {
                ages.look_at(ages.wait);
                self.follow(generation, begun, RefreshReason::Expiring, now);
            }
            Begin::Later(at) => ages.look_at(at),
            Begin::Over(_) => ages.look_at(ages.dead),
        }
        !dead && generation.word().may_be_sent() && !generation.word().is_renewed()
    }

    /// A credential that may not be sent, or not yet: its source is asked, if it is time to.
    #[cold]
    pub(crate) fn renew(&self, generation: &Arc<Generation>, now: u64) {
        let word = generation.word();
        if !word.is_renewed() || word.until() > now {
            return;
        }
        let Some(feed) = generation.member.asking() else { return };
        let why = generation.why();
        let mut flight = feed.flight();
        let begun = if why.is_rejected() { flight.begin_anew(now) } else { flight.begin(now) };
        drop(flight);
        self.follow(generation, begun, why, now);
    }

    /// A refused credential that has ended meanwhile is not probed: another is asked for, if any
    /// ever comes.
    #[cold]
    pub(crate) fn bury(&self, generation: &Arc<Generation>, now: u64) {
        let over = generation.member.asking().map(|feed| feed.flight().over());
        match over {
            Some(None) => {
                self.change(generation, |word| word.unfit(now));
                self.renew(generation, now);
            }
            Some(Some(_)) | None => {
                self.change(generation, Word::retired);
            }
        }
    }

    /// Brings the state into step with whether the source is asked.
    fn follow(&self, generation: &Arc<Generation>, begun: Begin, why: RefreshReason, now: u64) {
        match begun {
            Begin::Started => {
                self.change(generation, Word::asked);
                task::start(generation, why, now);
            }
            Begin::UnderWay => {
                self.change(generation, Word::asked);
                // It may have ended in between, and not have seen what this request has done.
                let Some(feed) = generation.member.asking() else { return };
                let again = feed.flight().begin(now);
                if again != Begin::UnderWay {
                    self.follow(generation, again, why, now);
                }
            }
            Begin::Later(at) => {
                let good = generation.is_good(now);
                self.go_on(generation, good, at, now);
                generation.ages.look_at(at);
            }
            Begin::Over(reason) => {
                self.give_up(generation, reason, None);
            }
        }
    }

    /// Whoever heard that the source was being asked, when that had just ended, is not kept waiting.
    pub(crate) fn unask(&self, member: &Arc<Member>, now: u64) {
        let roster = self.roster.load();
        let slot = roster.position(member).and_then(|at| roster.slots.get(at));
        if let Some(slot) = slot {
            let under_way = |word: Word| word.unasked(now);
            self.change(&slot.current.load(), under_way);
        }
    }

    /// Its source gives no other: an account without a credential is out. Whether that was told, with
    /// what the source has just said.
    fn give_up(
        &self,
        generation: &Arc<Generation>,
        reason: Reason,
        error: Option<&SourceError>,
    ) -> bool {
        let change = self.change(generation, |word| word.given_up(reason));
        let Some(change) = change.filter(|change| self.is_news(change)) else { return false };
        let reason = OutReason::RefreshFailed(reason);
        let mut out = self.out(generation, &change, reason, &mut Now::unread());
        out.error = error.map(|error| foreign(&error.to_string(), self));
        self.tell_out(out, &change);
        true
    }

    /// A credential that nothing replaces has ended.
    pub(crate) fn expire(&self, generation: &Arc<Generation>) {
        let change = self.change(generation, Word::expired);
        if let Some(change) = change.filter(Change::is_loss) {
            self.tell(generation, &change, OutReason::Expired, None, &mut Now::unread());
        }
    }

    /// The source gave no other.
    pub(crate) fn not_renewed(&self, generation: &Arc<Generation>, error: &SourceError, now: u64) {
        let end = match error.reason() {
            Some(reason) => End::Over(reason),
            None => End::Failed(error.retry_after()),
        };
        self.without_another(generation, error, end, now);
    }

    /// The source has not given another in time, and is asked on.
    pub(crate) fn is_late(&self, generation: &Arc<Generation>, error: &SourceError, now: u64) {
        self.without_another(generation, error, End::Late, now);
    }

    fn without_another(
        &self,
        generation: &Arc<Generation>,
        error: &SourceError,
        end: End,
        now: u64,
    ) {
        let Some(feed) = generation.member.asking() else { return };
        let (until, first) = feed.flight().end(end, now, fastrand::f64());
        let good = generation.is_good(now);
        let tell = || self.tell_not_renewed(generation, error, good, until, now);
        let Some(reason) = error.reason() else {
            if first {
                tell();
            }
            self.go_on(generation, good, until, now);
            return generation.ages.look_at(until);
        };
        self.go_on(generation, good, until, now);
        generation.ages.look_at(generation.ages.dead);
        // One cause is one incident.
        if !self.give_up(generation, reason, Some(error)) && first {
            tell();
        }
    }

    /// It goes on with what it has, if that is `good`, else with nothing until `until`.
    fn go_on(&self, generation: &Generation, good: bool, until: u64, now: u64) {
        let kept = &generation.member.kept;
        self.change(generation, |word| word.not_renewed(good, until, kept.get(now), now));
        // One may have come in between.
        self.go_on_resting(generation, now);
    }

    fn tell_not_renewed(
        &self,
        generation: &Arc<Generation>,
        error: &SourceError,
        good: bool,
        until: u64,
        now: u64,
    ) {
        let left = |at: u64| Duration::from_millis(at.saturating_sub(now));
        let dead = generation.ages.dead;
        let valid_for = if dead == u64::MAX { Duration::MAX } else { left(dead) };
        let news = TokenEventKind::RefreshFailed {
            error: foreign(&error.to_string(), self),
            reason: error.reason(),
            valid_for: good.then_some(valid_for),
            next_call_in: (!error.is_terminal()).then(|| left(until)),
        };
        self.tell_token(generation, news);
    }

    pub(crate) fn tell_token(&self, generation: &Generation, news: TokenEventKind) {
        let account = self.tag(&generation.member);
        let event = TokenEvent::new(account, generation.number, news);
        self.settings.reporter.report(&Event::Token(event));
    }

    /// The source gave the credential that is there already.
    pub(crate) fn same(
        &self,
        generation: &Arc<Generation>,
        token: &Token,
        why: RefreshReason,
        now: u64,
    ) {
        let Some(feed) = generation.member.asking() else { return };
        if why.is_rejected() || generation.word().was_refused() {
            feed.flight().end(End::Overtaken, now, 0.0);
            if !why.is_rejected() {
                // It was refused after its source was asked, which may yet have another.
                return;
            }
            let rests = &self.settings.rests;
            let change = self.change(generation, |word| word.confirmed(rests, now));
            self.go_on_resting(generation, now);
            if let Some(change) = change {
                self.tell_refusal(
                    generation,
                    &change,
                    generation.word().reason(),
                    None,
                    &mut Now::unread(),
                );
            }
        } else if !generation.is_good(now) {
            let what = "the source gives the token that has ended";
            self.not_renewed(generation, &SourceError::transient(what), now);
        } else {
            // No failure: the next one is not there yet.
            let random = fastrand::f64();
            let (again, _) = feed.flight().end(End::Same(token.refresh_in), now, random);
            self.go_on(generation, true, again, now);
            let wait = generation.ages.wait;
            generation.ages.look_at(if now < wait { again.min(wait) } else { again });
        }
    }
}

// === impl Generation, Member ===

impl Generation {
    /// A refused credential is probed: its source may have another by now.
    pub(crate) fn ask_besides(self: &Arc<Self>, now: u64) {
        let Some(feed) = self.member.asking() else { return };
        let reason = self.word().reason();
        if feed.can_renew_after(reason) && feed.flight().begin(now) == Begin::Started {
            task::start(self, RefreshReason::Rejected(reason), now);
        }
    }

    /// Whether it may still be sent.
    fn is_good(&self, now: u64) -> bool {
        let word = self.word();
        word.may_be_sent() && !word.is_closed() && !self.ages.is_dead(now)
    }

    /// Why its source is asked for another.
    fn why(&self) -> RefreshReason {
        let word = self.word();
        if !self.credential.is_loaded() {
            RefreshReason::First
        } else if word.was_refused() {
            RefreshReason::Rejected(word.reason())
        } else {
            RefreshReason::Expiring
        }
    }
}

impl Member {
    /// Its feed, if it has somebody to ask.
    pub(crate) fn asking(&self) -> Option<&Feed> {
        self.feed.as_deref().filter(|feed| feed.minting.is_some())
    }
}
