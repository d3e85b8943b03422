//! What each piece of evidence makes of a credential's state. Pure: times are arguments.

use super::{
    cooldown::Rests,
    state::{
        CLOSED, EVER, KIND, Kind, LIMITED, MODEL_RESTS, REASON, REFUSED, Since, TICKET, UNTIL,
        Word, reason_bits,
    },
};
use crate::classify::Reason;

#[cfg(test)]
mod tests;

// === impl Word: changes; `None` means that nothing changes ===

impl Word {
    /// The upstream refused the credential.
    pub(crate) fn refused(
        self,
        since: Since,
        reason: Reason,
        rests: &Rests,
        now: u64,
    ) -> Option<Self> {
        // A probe, or a person, has begun a new chapter: what was sent before has been overtaken.
        let late = self.get(TICKET) != since.seen.get(TICKET);
        let counts = match self.kind() {
            Kind::Usable | Kind::Limited | Kind::Quota | Kind::Expiring => !late,
            Kind::Probing => self.is_probe_of(since),
            Kind::Quarantined | Kind::Retired | Kind::Absent => false,
        };
        if !counts {
            return None;
        }
        let strikes = self.get(REFUSED);
        let rest = rests.quarantine(reason, self.ever_succeeded(), strikes);
        // How long its source is asked is no rest.
        let since = if self.is_renewed() { self.with(UNTIL, 0) } else { self };
        let next = since
            .with(KIND, Kind::Quarantined as u64)
            .with(REASON, reason_bits(reason))
            .with(REFUSED, strikes + 1)
            .grown(now.saturating_add(rest));
        self.open_to(next)
    }

    /// Too many requests.
    pub(crate) fn limited(
        self,
        since: Since,
        delay: Option<u64>,
        rests: &Rests,
        now: u64,
    ) -> Option<Self> {
        let probe = self.is_probe_of(since);
        let healed = if probe { self.healed(since) } else { self };
        // Within a rest, an answer without a hint says nothing new.
        let within = self.until() > now && self.kind() != Kind::Usable;
        let (rest, next) = match delay {
            _ if !rests.cooling => (0, healed),
            Some(delay) => (delay.min(rests.max_rest), healed),
            None if within => (0, healed),
            None => {
                let strikes = self.get(LIMITED);
                (rests.limited(strikes), healed.with(LIMITED, strikes + 1))
            }
        };
        self.open_to(if rest == 0 { next } else { next.resting(Kind::Limited, now, rest) })
    }

    /// No quota left.
    pub(crate) fn out_of_quota(
        self,
        since: Since,
        delay: Option<u64>,
        rests: &Rests,
        now: u64,
    ) -> Option<Self> {
        let next = if self.is_probe_of(since) { self.healed(since) } else { self };
        let rest = delay.unwrap_or(rests.out_of_quota).min(rests.max_rest);
        self.open_to(if rest == 0 { next } else { next.resting(Kind::Quota, now, rest) })
    }

    /// Somebody wants it left alone for `rest`.
    pub(crate) fn rested(self, now: u64, rest: u64) -> Option<Self> {
        self.open_to(if rest == 0 { self } else { self.resting(Kind::Limited, now, rest) })
    }

    /// The rest of its account goes on: a new token is no new account.
    pub(crate) fn at_rest(self, rest: Self, now: u64) -> Option<Self> {
        let left = rest.until().saturating_sub(now);
        self.open_to(self.resting(rest.kind(), now, left))
    }

    /// The upstream accepted the credential.
    pub(crate) fn succeeded(self, since: Since) -> Option<Self> {
        // Whatever made the rest longer since then is newer than this success.
        let newest = self.until() == since.seen.until();
        let next = match self.kind() {
            Kind::Probing if self.is_probe_of(since) => {
                self.healed(since).with(REFUSED, 0).with(LIMITED, 0)
            }
            Kind::Usable if newest => self.with(REFUSED, 0).with(LIMITED, 0),
            Kind::Limited | Kind::Quota if newest => self.with(LIMITED, 0),
            Kind::Retired => return None,
            _ => self,
        };
        self.open_to(next.with(EVER, 1))
    }

    /// The attempt failed in a way that shows the credential to be good.
    pub(crate) fn vouched(self, since: Since) -> Option<Self> {
        if self.is_probe_of(since) { self.open_to(self.healed(since)) } else { None }
    }

    /// The attempt showed nothing about the credential, or never ended.
    pub(crate) fn given_back(self, since: Since) -> Option<Self> {
        if !self.is_probe_of(since) {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Quarantined as u64))
    }

    /// One request goes and looks whether the credential is good again.
    pub(crate) fn probed(self, now: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined || self.until() > now {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Probing as u64).next_chapter())
    }

    /// Its rest is over.
    pub(crate) fn woken(self, now: u64) -> Option<Self> {
        if !self.is_resting() || self.until() > now {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Usable as u64))
    }

    /// A person takes it out.
    pub(crate) fn retired(self) -> Option<Self> {
        let reason = if self.is_alive() { Reason::Inactive } else { self.reason() };
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, reason_bits(reason));
        self.open_to(next.next_chapter())
    }

    /// A person takes it in again: nothing that was held against it counts any more.
    pub(crate) fn revived(self) -> Option<Self> {
        let clean = Self::FRESH
            .with(EVER, self.get(EVER))
            .with(MODEL_RESTS, self.get(MODEL_RESTS))
            .with(TICKET, self.get(TICKET));
        // Where only a rest was held against it, no refusal on its way has been overtaken.
        let refused = !self.is_alive() || self.get(REFUSED) > 0;
        self.open_to(clean).map(|clean| if refused { clean.next_chapter() } else { clean })
    }

    /// The generation is over.
    pub(crate) const fn closed(self) -> Self {
        self.with(CLOSED, 1)
    }

    /// Its model table holds something, or no longer does.
    pub(crate) fn with_model_rests(self, some: bool) -> Option<Self> {
        self.open_to(self.with(MODEL_RESTS, u64::from(some)))
    }

    /// `next`, if it is a change, and if changes still count.
    pub(crate) fn open_to(self, next: Self) -> Option<Self> {
        (!self.is_closed() && next != self).then_some(next)
    }

    pub(crate) const fn is_probe_of(self, since: Since) -> bool {
        since.probe
            && matches!(self.kind(), Kind::Probing)
            && self.get(TICKET) == since.seen.get(TICKET)
    }

    /// Out of quarantine. A rest that was asked for while the probe was out is kept.
    const fn healed(self, since: Since) -> Self {
        let grown = self.until() > since.seen.until();
        self.with(KIND, if grown { Kind::Limited as u64 } else { Kind::Usable as u64 })
    }

    /// Left alone for `rest` from `now`: by a new rest if it may be used, else by a longer one.
    fn resting(self, kind: Kind, now: u64, rest: u64) -> Self {
        let next = self.grown(now.saturating_add(rest));
        match self.kind() {
            Kind::Usable | Kind::Limited => next.with(KIND, kind as u64),
            Kind::Quota if self.until() <= now => next.with(KIND, kind as u64),
            // While its source is asked, the rest is kept beside it.
            Kind::Retired | Kind::Expiring | Kind::Absent => self,
            _ => next,
        }
    }

    fn grown(self, until: u64) -> Self {
        self.with(UNTIL, until.max(self.until()))
    }

    pub(crate) const fn next_chapter(self) -> Self {
        self.with(TICKET, (self.get(TICKET) + 1) & TICKET.max())
    }
}
