//! Changes of a generation's state by expiry and by answers of its source. Pure: times are arguments.

use super::{
    cooldown::Cooldowns,
    state::{
        GenerationState, KIND, Kind, REASON, REJECTED, REPORTED, Since, TICKET, UNTIL, reason_bits,
    },
};
use crate::classify::Reason;

// === impl GenerationState: changes; `None` means that nothing changes ===

impl GenerationState {
    /// Returns the state of an account whose source has not given its first credential.
    pub(crate) const fn unloaded() -> Self {
        Self::NEW.with(KIND, Kind::Absent as u64)
    }

    /// Returns the state after an operator revived an account that has no credential.
    pub(crate) fn revived_unloaded(self) -> Option<Self> {
        self.if_open(Self::unloaded().with(TICKET, self.get(TICKET)).next_ticket())
    }

    /// Returns the state after a rejection of a credential whose source may have another.
    pub(crate) fn rejected_renewable(
        self,
        since: Since,
        reason: Reason,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let rejected = self.rejected(since, reason, cooldowns, now)?;
        // A probe that is rejected again is not reported again.
        let reported = u64::from(self.kind() == Kind::Probing);
        let next = rejected.with(KIND, Kind::Absent as u64).with(REPORTED, reported);
        Some(next.with(UNTIL, now))
    }

    /// Returns the state of a credential that has expired, or was never loaded.
    pub(crate) fn ended(self, until: u64) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        // An earlier rejection that was healed is not the reason.
        let strikes = if self.was_rejected() { self.get(REJECTED) } else { 0 };
        let next = self.with(REJECTED, strikes).with(KIND, Kind::Absent as u64);
        self.if_open(next.with(UNTIL, until))
    }

    /// Returns the state of a rejected credential that has expired: a probe would show nothing.
    pub(crate) fn rejected_expired(self, until: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined {
            return None;
        }
        let next = self.with(KIND, Kind::Absent as u64).with(REPORTED, 1).with(UNTIL, until);
        self.if_open(next.next_ticket())
    }

    /// Returns the state after a call has ended without a change.
    pub(crate) fn not_asked(self, now: u64) -> Option<Self> {
        self.if_open(if self.is_under_way() { self.with(UNTIL, now) } else { self })
    }

    /// Returns the state of a credential that expires so soon that requests wait for another.
    pub(crate) fn expiring(self) -> Option<Self> {
        let usable = self.is_alive() && !self.is_renewing();
        let next = self.with(KIND, Kind::Expiring as u64).with(UNTIL, UNTIL.max());
        self.if_open(if usable { next } else { self })
    }

    /// Returns the state while its source is called.
    pub(crate) fn asked(self) -> Option<Self> {
        self.if_open(if self.is_renewing() { self.with(UNTIL, UNTIL.max()) } else { self })
    }

    /// Returns the state after a call that gave no other credential: one that is still `good` is used
    /// again, after the account's `cooldown`; else the next call is due at `until`.
    pub(crate) fn not_renewed(
        self,
        good: bool,
        until: u64,
        cooldown: Option<Self>,
        now: u64,
    ) -> Option<Self> {
        match self.kind() {
            Kind::Expiring if good => {
                let usable = self.with(KIND, Kind::Usable as u64).with(UNTIL, 0);
                let next = cooldown.and_then(|cooldown| usable.cooling_like(cooldown, now));
                self.if_open(next.unwrap_or(usable))
            }
            Kind::Expiring | Kind::Absent => self.ended(until),
            _ => None,
        }
    }

    /// Returns the state after the source gives no other until an operator acts.
    pub(crate) fn retired_unrenewed(self, reason: Reason) -> Option<Self> {
        if self.kind() != Kind::Absent {
            return None;
        }
        let next = self.with(REASON, reason_bits(reason)).with(KIND, Kind::Retired as u64);
        self.if_open(next.next_ticket())
    }

    /// Returns the state after the source gave the rejected credential again.
    pub(crate) fn rejection_confirmed(self, cooldowns: &Cooldowns, now: u64) -> Option<Self> {
        if !self.was_rejected() {
            return None;
        }
        let strikes = self.get(REJECTED).saturating_sub(1);
        let cooldown = cooldowns.quarantine(self.reason(), self.is_proven(), strikes);
        let next = self.with(KIND, Kind::Quarantined as u64).with(REPORTED, 0);
        self.if_open(next.with(UNTIL, now.saturating_add(cooldown)))
    }

    /// Returns the state of a new credential of an account that an operator has taken out.
    pub(crate) fn retired_like(self, was: Self) -> Option<Self> {
        let out = was.kind() == Kind::Retired;
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, was.get(REASON));
        self.if_open(if out { next } else { self })
    }

    /// Returns the state of an expired credential without a source.
    pub(crate) fn expired(self) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        let next = self.with(REASON, reason_bits(Reason::Expired));
        self.if_open(next.with(KIND, Kind::Retired as u64).next_ticket())
    }
}
