//! What a source's answers make of a credential's state. Pure: times are arguments.

use super::{
    cooldown::Rests,
    state::{KIND, Kind, REASON, REFUSED, Since, TICKET, TOLD, UNTIL, Word, reason_bits},
};
use crate::classify::Reason;

// === impl Word: changes; `None` means that nothing changes ===

impl Word {
    /// An account whose first credential its source has yet to give.
    pub(crate) const fn unloaded() -> Self {
        Self::FRESH.with(KIND, Kind::Absent as u64)
    }

    /// A person takes an account in again that has nothing to send.
    pub(crate) fn reloaded(self) -> Option<Self> {
        self.open_to(Self::unloaded().with(TICKET, self.get(TICKET)).next_chapter())
    }

    /// The upstream refused the credential, and its source makes others.
    pub(crate) fn spent(
        self,
        since: Since,
        reason: Reason,
        rests: &Rests,
        now: u64,
    ) -> Option<Self> {
        let refused = self.refused(since, reason, rests, now)?;
        // A probe that is refused again is no news.
        let told = u64::from(self.kind() == Kind::Probing);
        let next = refused.with(KIND, Kind::Absent as u64).with(TOLD, told);
        Some(next.with(UNTIL, now))
    }

    /// It has ended, or was never there.
    pub(crate) fn ended(self, until: u64) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        // What it was refused for before, and has been healed of, is not why.
        let strikes = if self.was_refused() { self.get(REFUSED) } else { 0 };
        let next = self.with(REFUSED, strikes).with(KIND, Kind::Absent as u64);
        self.open_to(next.with(UNTIL, until))
    }

    /// It was refused and has ended: a probe would show nothing.
    pub(crate) fn unfit(self, until: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined {
            return None;
        }
        let next = self.with(KIND, Kind::Absent as u64).with(TOLD, 1).with(UNTIL, until);
        self.open_to(next.next_chapter())
    }

    /// Nobody is asking its source after all.
    pub(crate) fn unasked(self, now: u64) -> Option<Self> {
        self.open_to(if self.is_under_way() { self.with(UNTIL, now) } else { self })
    }

    /// It ends soon enough for requests to wait for another.
    pub(crate) fn expiring(self) -> Option<Self> {
        let usable = self.is_alive() && !self.is_renewed();
        let next = self.with(KIND, Kind::Expiring as u64).with(UNTIL, UNTIL.max());
        self.open_to(if usable { next } else { self })
    }

    /// Its source is being asked.
    pub(crate) fn asked(self) -> Option<Self> {
        self.open_to(if self.is_renewed() { self.with(UNTIL, UNTIL.max()) } else { self })
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
                let next = rest.and_then(|rest| usable.at_rest(rest, now));
                self.open_to(next.unwrap_or(usable))
            }
            Kind::Expiring | Kind::Absent => self.ended(until),
            _ => None,
        }
    }

    /// Its source gives no other until a person acts.
    pub(crate) fn given_up(self, reason: Reason) -> Option<Self> {
        if self.kind() != Kind::Absent {
            return None;
        }
        let next = self.with(REASON, reason_bits(reason)).with(KIND, Kind::Retired as u64);
        self.open_to(next.next_chapter())
    }

    /// Its source gave the same one again, which was refused.
    pub(crate) fn confirmed(self, rests: &Rests, now: u64) -> Option<Self> {
        if !self.was_refused() {
            return None;
        }
        let strikes = self.get(REFUSED).saturating_sub(1);
        let rest = rests.quarantine(self.reason(), self.ever_succeeded(), strikes);
        let next = self.with(KIND, Kind::Quarantined as u64).with(TOLD, 0);
        self.open_to(next.with(UNTIL, now.saturating_add(rest)))
    }

    /// What a person has taken out stays out, with whatever credential.
    pub(crate) fn out_like(self, was: Self) -> Option<Self> {
        let out = was.kind() == Kind::Retired;
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, was.get(REASON));
        self.open_to(if out { next } else { self })
    }

    /// It has ended, and nothing replaces it.
    pub(crate) fn expired(self) -> Option<Self> {
        if !self.is_alive() {
            return None;
        }
        let next = self.with(REASON, reason_bits(Reason::Expired));
        self.open_to(next.with(KIND, Kind::Retired as u64).next_chapter())
    }
}
