//! The transitions of a generation's state: rejection, quarantine, probe and recovery. Pure: times are arguments.

use super::{
    cooldown::Cooldowns,
    state::{
        CLOSED, GenerationState, KIND, Kind, MODEL_COOLDOWNS, PROVEN, REASON, REJECTED, Since,
        TICKET, UNTIL, reason_bits,
    },
};
use crate::classify::Reason;

#[cfg(test)]
mod tests;

// === impl GenerationState: changes; `None` means that nothing changes ===

impl GenerationState {
    /// Returns the state after a rejection.
    pub(crate) fn rejected(
        self,
        since: Since,
        reason: Reason,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        // A probe or an operator has taken a new ticket: requests sent before it are outdated.
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
        let cooldown = cooldowns.quarantine(reason, self.is_proven(), strikes);
        // The time of a call to the source is no quarantine.
        let since = if self.is_renewing() { self.with(UNTIL, 0) } else { self };
        let next = since
            .with(KIND, Kind::Quarantined as u64)
            .with(REASON, reason_bits(reason))
            .with(REJECTED, strikes + 1)
            .grown(now.saturating_add(cooldown));
        self.if_open(next)
    }

    /// Returns the state after a limit, which without a `delay` is one more than `strikes` in a row.
    pub(crate) fn limited(
        self,
        since: Since,
        delay: Option<u64>,
        strikes: u64,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let probe = self.is_probe_of(since);
        let healed = if probe { self.healed(since) } else { self };
        // Within a cooldown, an answer without a hint adds nothing.
        let within = self.until() > now && self.kind() != Kind::Usable;
        let cooldown = match delay {
            _ if !cooldowns.cooling => 0,
            Some(delay) => delay.min(cooldowns.max_rest),
            None if within => 0,
            None => cooldowns.limited(strikes),
        };
        let next =
            if cooldown == 0 { healed } else { healed.cooling(Kind::Limited, now, cooldown) };
        self.if_open(next)
    }

    /// Returns the state of an account without quota.
    pub(crate) fn out_of_quota(
        self,
        since: Since,
        delay: Option<u64>,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let next = if self.is_probe_of(since) { self.healed(since) } else { self };
        let cooldown = delay.unwrap_or(cooldowns.out_of_quota).min(cooldowns.max_rest);
        self.if_open(if cooldown == 0 { next } else { next.cooling(Kind::Quota, now, cooldown) })
    }

    /// Returns the state after an operator cooled the account for `cooldown`.
    pub(crate) fn cooled_down(self, now: u64, cooldown: u64) -> Option<Self> {
        self.if_open(if cooldown == 0 { self } else { self.cooling(Kind::Limited, now, cooldown) })
    }

    /// Returns the state with the cooldown of its account.
    pub(crate) fn cooling_like(self, cooldown: Self, now: u64) -> Option<Self> {
        let left = cooldown.until().saturating_sub(now);
        self.if_open(self.cooling(cooldown.kind(), now, left))
    }

    /// Returns the state after a success.
    pub(crate) fn succeeded(self, since: Since) -> Option<Self> {
        // A cooldown that grew since then is newer than this success.
        let newest = self.until() == since.seen.until();
        let next = match self.kind() {
            Kind::Probing if self.is_probe_of(since) => self.healed(since).with(REJECTED, 0),
            Kind::Usable if newest => self.with(REJECTED, 0),
            Kind::Retired => return None,
            _ => self,
        };
        self.if_open(next.with(PROVEN, 1))
    }

    /// Returns whether a success ends the account's limits in a row: no cooldown grew since then.
    pub(crate) fn ends_strikes(self, since: Since) -> bool {
        let newest = self.until() == since.seen.until();
        let serves = matches!(self.kind(), Kind::Usable | Kind::Limited | Kind::Quota);
        !self.is_closed() && (self.is_probe_of(since) || serves && newest)
    }

    /// Returns the state after a failure that shows the credential to be good.
    pub(crate) fn probe_healthy(self, since: Since) -> Option<Self> {
        if self.is_probe_of(since) { self.if_open(self.healed(since)) } else { None }
    }

    /// Returns the state after a probe that showed nothing, or was dropped.
    pub(crate) fn probe_returned(self, since: Since) -> Option<Self> {
        if !self.is_probe_of(since) {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Quarantined as u64))
    }

    /// Returns the state while one request probes the credential.
    pub(crate) fn probed(self, now: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined || self.until() > now {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Probing as u64).next_ticket())
    }

    /// Returns the state after the cooldown.
    pub(crate) fn cooldown_over(self, now: u64) -> Option<Self> {
        if !self.is_cooling() || self.until() > now {
            return None;
        }
        self.if_open(self.with(KIND, Kind::Usable as u64))
    }

    /// Returns the state after an operator took the account out.
    pub(crate) fn retired(self) -> Option<Self> {
        let reason = if self.is_alive() { Reason::Inactive } else { self.reason() };
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, reason_bits(reason));
        self.if_open(next.next_ticket())
    }

    /// Returns the state after an operator revived the account: without rejection and cooldown.
    pub(crate) fn revived(self) -> Option<Self> {
        let clean = Self::NEW
            .with(PROVEN, self.get(PROVEN))
            .with(MODEL_COOLDOWNS, self.get(MODEL_COOLDOWNS))
            .with(TICKET, self.get(TICKET));
        // Without a rejection, one that is on its way still counts.
        let rejected = !self.is_alive() || self.get(REJECTED) > 0;
        self.if_open(clean).map(|clean| if rejected { clean.next_ticket() } else { clean })
    }

    /// Returns the state of a generation that was replaced or removed.
    pub(crate) const fn closed(self) -> Self {
        self.with(CLOSED, 1)
    }

    /// Returns the state with the flag of the model table.
    pub(crate) fn with_model_cooldowns(self, some: bool) -> Option<Self> {
        self.if_open(self.with(MODEL_COOLDOWNS, u64::from(some)))
    }

    /// Returns `next` if it is a change, and the generation is current.
    pub(crate) fn if_open(self, next: Self) -> Option<Self> {
        (!self.is_closed() && next != self).then_some(next)
    }

    pub(crate) const fn is_probe_of(self, since: Since) -> bool {
        since.probe
            && matches!(self.kind(), Kind::Probing)
            && self.get(TICKET) == since.seen.get(TICKET)
    }

    /// Returns the state without quarantine. A cooldown that grew while the probe was in flight stays.
    const fn healed(self, since: Since) -> Self {
        let grown = self.until() > since.seen.until();
        self.with(KIND, if grown { Kind::Limited as u64 } else { Kind::Usable as u64 })
    }

    /// Returns the state that cools for `cooldown` from `now`, or for longer if it does already.
    fn cooling(self, kind: Kind, now: u64, cooldown: u64) -> Self {
        let next = self.grown(now.saturating_add(cooldown));
        match self.kind() {
            Kind::Usable | Kind::Limited => next.with(KIND, kind as u64),
            Kind::Quota if self.until() <= now => next.with(KIND, kind as u64),
            // While its source is called, the cooldown is kept in the account.
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
