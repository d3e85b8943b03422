//! What a source's answers make of a credential's state. Pure: times are arguments.

use super::{
    cooldown::Cooldowns,
    state::{
        GenerationState, KIND, Kind, REASON, REJECTED, REPORTED, Since, TICKET, UNTIL, reason_bits,
    },
};
use crate::classify::Reason;

// === impl Word: changes; `None` means that nothing changes ===

impl GenerationState {
    /// An account whose first credential its source has yet to give.
    pub(crate) const fn unloaded() -> Self {
        Self::NEW.with(KIND, Kind::Absent as u64)
    }

    /// A person takes an account in again that has nothing to send.
    pub(crate) fn revived_unloaded(self) -> Option<Self> {
        self.if_open(Self::unloaded().with(TICKET, self.get(TICKET)).next_ticket())
    }

    /// The upstream refused the credential, and its source makes others.
    pub(crate) fn rejected_renewable(
        self,
        since: Since,
        reason: Reason,
        cooldowns: &Cooldowns,
        now: u64,
    ) -> Option<Self> {
        let rejected = self.rejected(since, reason, cooldowns, now)?;
        // A probe that is refused again is no news.
        let told = u64::from(self.kind() == Kind::Probing);
        let next = rejected.with(KIND, Kind::Absent as u64).with(REPORTED, told);
        Some(next.with(UNTIL, now))
    }

    /// It has ended, or was never there.
    pub(crate) fn ended(self, until: u64) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        // What it was refused for before, and has been healed of, is not why.
        let strikes = if self.was_rejected() { self.get(REJECTED) } else { 0 };
        let next = self.with(REJECTED, strikes).with(KIND, Kind::Absent as u64);
        self.if_open(next.with(UNTIL, until))
    }

    /// It was refused and has ended: a probe would show nothing.
    pub(crate) fn rejected_expired(self, until: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined {
            return None;
        }
        let next = self.with(KIND, Kind::Absent as u64).with(REPORTED, 1).with(UNTIL, until);
        self.if_open(next.next_ticket())
    }

    /// Nobody is asking its source after all.
    pub(crate) fn not_asked(self, now: u64) -> Option<Self> {
        self.if_open(if self.is_under_way() { self.with(UNTIL, now) } else { self })
    }

    /// It ends soon enough for requests to wait for another.
    pub(crate) fn expiring(self) -> Option<Self> {
        let usable = self.is_alive() && !self.is_renewing();
        let next = self.with(KIND, Kind::Expiring as u64).with(UNTIL, UNTIL.max());
        self.if_open(if usable { next } else { self })
    }

    /// Its source is being asked.
    pub(crate) fn asked(self) -> Option<Self> {
        self.if_open(if self.is_renewing() { self.with(UNTIL, UNTIL.max()) } else { self })
    }

    /// Its source gave no other: one that is still `good` is used again, after the account's `rest`,
    /// else nothing is before `until`.
    pub(crate) fn not_renewed(
        self,
        good: bool,
        until: u64,
        rest: Option<Self>,
        now: u64,
    ) -> Option<Self> {
        match self.kind() {
            Kind::Expiring if good => {
                let usable = self.with(KIND, Kind::Usable as u64).with(UNTIL, 0);
                let next = rest.and_then(|rest| usable.cooling_like(rest, now));
                self.if_open(next.unwrap_or(usable))
            }
            Kind::Expiring | Kind::Absent => self.ended(until),
            _ => None,
        }
    }

    /// Its source gives no other until a person acts.
    pub(crate) fn retired_unrenewed(self, reason: Reason) -> Option<Self> {
        if self.kind() != Kind::Absent {
            return None;
        }
        let next = self.with(REASON, reason_bits(reason)).with(KIND, Kind::Retired as u64);
        self.if_open(next.next_ticket())
    }

    /// Its source gave the same one again, which was refused.
    pub(crate) fn rejection_confirmed(self, cooldowns: &Cooldowns, now: u64) -> Option<Self> {
        if !self.was_rejected() {
            return None;
        }
        let strikes = self.get(REJECTED).saturating_sub(1);
        let rest = cooldowns.quarantine(self.reason(), self.is_proven(), strikes);
        let next = self.with(KIND, Kind::Quarantined as u64).with(REPORTED, 0);
        self.if_open(next.with(UNTIL, now.saturating_add(rest)))
    }

    /// What a person has taken out stays out, with whatever credential.
    pub(crate) fn retired_like(self, was: Self) -> Option<Self> {
        let out = was.kind() == Kind::Retired;
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, was.get(REASON));
        self.if_open(if out { next } else { self })
    }

    /// It has ended, and nothing replaces it.
    pub(crate) fn expired(self) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        let next = self.with(REASON, reason_bits(Reason::Expired));
        self.if_open(next.with(KIND, Kind::Retired as u64).next_ticket())
    }
}
