//! What each piece of evidence makes of a credential's state. Pure: times are arguments.

use super::{
    cooldown::Cooldowns,
    state::{
        CLOSED, GenerationState, KIND, Kind, LIMITED, MODEL_COOLDOWNS, PROVEN, REASON, REJECTED,
        Since, TICKET, UNTIL, reason_bits,
    },
};
use crate::classify::Reason;

#[cfg(test)]
mod tests;

// === impl Word: changes; `None` means that nothing changes ===

impl GenerationState {
    /// The upstream refused the credential.
    pub(crate) fn rejected(
        self,
        since: Since,
        reason: Reason,
        cooldowns: &Cooldowns,
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
        let strikes = self.get(REJECTED);
        let rest = cooldowns.quarantine(reason, self.is_proven(), strikes);
        // How long its source is asked is no rest.
        let since = if self.is_renewing() { self.with(UNTIL, 0) } else { self };
        let next = since
            .with(KIND, Kind::Quarantined as u64)
            .with(REASON, reason_bits(reason))
            .with(REJECTED, strikes + 1)
            .grown(now.saturating_add(rest));
        self.if_open(next)
    }

    /// Too many requests.
    pub(crate) fn limited(
        self,
        since: Since,
        delay: Option<u64>,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let probe = self.is_probe_of(since);
        let healed = if probe { self.healed(since) } else { self };
        // Within a rest, an answer without a hint says nothing new.
        let within = self.until() > now && self.kind() != Kind::Usable;
        let (rest, next) = match delay {
            _ if !cooldowns.cooling => (0, healed),
            Some(delay) => (delay.min(cooldowns.max_rest), healed),
            None if within => (0, healed),
            None => {
                let strikes = self.get(LIMITED);
                (cooldowns.limited(strikes), healed.with(LIMITED, strikes + 1))
            }
        };
        self.if_open(if rest == 0 { next } else { next.cooling(Kind::Limited, now, rest) })
    }

    /// No quota left.
    pub(crate) fn out_of_quota(
        self,
        since: Since,
        delay: Option<u64>,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let next = if self.is_probe_of(since) { self.healed(since) } else { self };
        let rest = delay.unwrap_or(cooldowns.out_of_quota).min(cooldowns.max_rest);
        self.if_open(if rest == 0 { next } else { next.cooling(Kind::Quota, now, rest) })
    }

    /// Somebody wants it left alone for `rest`.
    pub(crate) fn cooled_down(self, now: u64, rest: u64) -> Option<Self> {
        self.if_open(if rest == 0 { self } else { self.cooling(Kind::Limited, now, rest) })
    }

    /// The rest of its account goes on: a new token is no new account.
    pub(crate) fn cooling_like(self, rest: Self, now: u64) -> Option<Self> {
        let left = rest.until().saturating_sub(now);
        self.if_open(self.cooling(rest.kind(), now, left))
    }

    /// The upstream accepted the credential.
    pub(crate) fn succeeded(self, since: Since) -> Option<Self> {
        // Whatever made the rest longer since then is newer than this success.
        let newest = self.until() == since.seen.until();
        let next = match self.kind() {
            Kind::Probing if self.is_probe_of(since) => {
                self.healed(since).with(REJECTED, 0).with(LIMITED, 0)
            }
            Kind::Usable if newest => self.with(REJECTED, 0).with(LIMITED, 0),
            Kind::Limited | Kind::Quota if newest => self.with(LIMITED, 0),
            Kind::Retired => return None,
            _ => self,
        };
        self.if_open(next.with(PROVEN, 1))
    }

    /// The attempt failed in a way that shows the credential to be good.
    pub(crate) fn probe_healthy(self, since: Since) -> Option<Self> {
        if self.is_probe_of(since) { self.if_open(self.healed(since)) } else { None }
    }

    /// The attempt showed nothing about the credential, or never ended.
    pub(crate) fn probe_returned(self, since: Since) -> Option<Self> {
        if !self.is_probe_of(since) {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Quarantined as u64))
    }

    /// One request goes and looks whether the credential is good again.
    pub(crate) fn probed(self, now: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined || self.until() > now {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Probing as u64).next_ticket())
    }

    /// Its rest is over.
    pub(crate) fn cooldown_over(self, now: u64) -> Option<Self> {
        if !self.is_cooling() || self.until() > now {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Usable as u64))
    }

    /// A person takes it out.
    pub(crate) fn retired(self) -> Option<Self> {
        let reason = if self.is_alive() { Reason::Inactive } else { self.reason() };
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, reason_bits(reason));
        self.if_open(next.next_ticket())
    }

    /// A person takes it in again: nothing that was held against it counts any more.
    pub(crate) fn revived(self) -> Option<Self> {
        let clean = Self::NEW
            .with(PROVEN, self.get(PROVEN))
            .with(MODEL_COOLDOWNS, self.get(MODEL_COOLDOWNS))
            .with(TICKET, self.get(TICKET));
        // Where only a rest was held against it, no refusal on its way has been overtaken.
        let rejected = !self.is_alive() || self.get(REJECTED) > 0;
        self.if_open(clean).map(|clean| if rejected { clean.next_ticket() } else { clean })
    }

    /// The generation is over.
    pub(crate) const fn closed(self) -> Self {
        self.with(CLOSED, 1)
    }

    /// Its model table holds something, or no longer does.
    pub(crate) fn with_model_cooldowns(self, some: bool) -> Option<Self> {
        self.if_open(self.with(MODEL_COOLDOWNS, u64::from(some)))
    }

    /// `next`, if it is a change, and if changes still count.
    pub(crate) fn if_open(self, next: Self) -> Option<Self> {
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
    fn cooling(self, kind: Kind, now: u64, rest: u64) -> Self {
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

    pub(crate) const fn next_ticket(self) -> Self {
        self.with(TICKET, (self.get(TICKET) + 1) & TICKET.max())
    }
}
