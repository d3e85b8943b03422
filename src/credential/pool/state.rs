//! The state of one generation of an account's credential, and what each piece of evidence makes of
//! it.
//!
//! All of it is one word, so that every change is one compare-and-swap. The word belongs to the
//! generation and not to the account: evidence about an old generation changes a word that nobody
//! looks at any more, and cannot touch the new one.
//!
//! ```text
//! bit  0  3      4           5    6      9       13      17     26    64
//!      kind closed model_rests ever reason refused limited ticket until
//! ```
//!
//! `until` is in milliseconds since the pool was built, saturating after eight years.

use super::rests::Rests;
use crate::classify::Reason;

/// What may be done with the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything.
    Usable,
    /// Too many requests: nothing before `until`.
    Limited,
    /// No quota left: nothing before `until`.
    Quota,
    /// Refused: nothing before `until`, then one probe.
    Quarantined,
    /// Refused, and a probe is out.
    Probing,
    /// Out until somebody acts.
    Retired,
}

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

/// What an attempt knew when it was given its credential.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    /// The word at that time; for a probe, as the probe left it.
    pub(super) seen: Word,
    /// Whether the attempt is a probe.
    pub(super) probe: bool,
}

#[derive(Clone, Copy)]
struct Field {
    at: u32,
    bits: u32,
}

const KIND: Field = Field { at: 0, bits: 3 };
const CLOSED: Field = Field { at: 3, bits: 1 };
const MODEL_RESTS: Field = Field { at: 4, bits: 1 };
const EVER: Field = Field { at: 5, bits: 1 };
const REASON: Field = Field { at: 6, bits: 3 };
const REFUSED: Field = Field { at: 9, bits: 4 };
const LIMITED: Field = Field { at: 13, bits: 4 };
const TICKET: Field = Field { at: 17, bits: 9 };
const UNTIL: Field = Field { at: 26, bits: 38 };

impl Field {
    const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }
}

// === impl Word: reading ===

impl Word {
    /// A credential about which nothing is known.
    pub(super) const FRESH: Self = Self(0);

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    const fn get(self, field: Field) -> u64 {
        (self.0 >> field.at) & field.max()
    }

    /// With `field` at `value`, or at its most.
    const fn with(self, field: Field, value: u64) -> Self {
        let value = if value > field.max() { field.max() } else { value };
        Self(self.0 & !(field.max() << field.at) | (value << field.at))
    }

    pub(super) const fn kind(self) -> Kind {
        match self.get(KIND) {
            0 => Kind::Usable,
            1 => Kind::Limited,
            2 => Kind::Quota,
            3 => Kind::Quarantined,
            4 => Kind::Probing,
            _ => Kind::Retired,
        }
    }

    /// Whether the generation was replaced, or its account removed: no evidence counts any more.
    pub(super) const fn is_closed(self) -> bool {
        self.get(CLOSED) == 1
    }

    /// Whether the generation's model table may hold something.
    pub(super) const fn has_model_rests(self) -> bool {
        self.get(MODEL_RESTS) == 1
    }

    /// Whether the credential ever was accepted.
    pub(super) const fn ever_succeeded(self) -> bool {
        self.get(EVER) == 1
    }

    /// Why it was refused, or retired; means nothing otherwise.
    pub(super) const fn reason(self) -> Reason {
        match self.get(REASON) {
            0 => Reason::Missing,
            1 => Reason::Expired,
            3 => Reason::Revoked,
            4 => Reason::Inactive,
            5 => Reason::InsufficientScope,
            _ => Reason::Invalid,
        }
    }

    /// Until when nothing uses it, if it is of a kind that rests.
    pub(super) const fn until(self) -> u64 {
        self.get(UNTIL)
    }

    /// Not refused and not retired. What rests is alive.
    pub(super) const fn is_alive(self) -> bool {
        matches!(self.kind(), Kind::Usable | Kind::Limited | Kind::Quota)
    }

    /// Limited or out of quota, whether or not the time is up.
    pub(super) const fn is_resting(self) -> bool {
        matches!(self.kind(), Kind::Limited | Kind::Quota)
    }

    /// Whether a request that starts at `now` may use it, and not as a probe.
    #[cfg(test)]
    pub(super) const fn serves(self, now: u64) -> bool {
        matches!(self.kind(), Kind::Usable) || self.is_resting() && self.until() <= now
    }
}

// === impl Word: changes; `None` means that nothing changes ===

impl Word {
    /// The upstream refused the credential.
    pub(super) fn refused(
        self,
        since: Since,
        reason: Reason,
        rests: &Rests,
        now: u64,
    ) -> Option<Self> {
        // A probe, or a person, has begun a new chapter: what was sent before has been overtaken.
        let late = self.get(TICKET) != since.seen.get(TICKET);
        let counts = match self.kind() {
            Kind::Usable | Kind::Limited | Kind::Quota => !late,
            Kind::Probing => self.is_probe_of(since),
            Kind::Quarantined | Kind::Retired => false,
        };
        if !counts {
            return None;
        }
        let strikes = self.get(REFUSED);
        let rest = rests.quarantine(reason, self.ever_succeeded(), strikes);
        let next = self
            .with(KIND, Kind::Quarantined as u64)
            .with(REASON, reason_bits(reason))
            .with(REFUSED, strikes + 1)
            .grown(now.saturating_add(rest));
        self.open_to(next)
    }

    /// Too many requests.
    pub(super) fn limited(
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
    pub(super) fn out_of_quota(
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
    pub(super) fn rested(self, now: u64, rest: u64) -> Option<Self> {
        self.open_to(if rest == 0 { self } else { self.resting(Kind::Limited, now, rest) })
    }

    /// The upstream accepted the credential.
    pub(super) fn succeeded(self, since: Since) -> Option<Self> {
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
    pub(super) fn vouched(self, since: Since) -> Option<Self> {
        if self.is_probe_of(since) { self.open_to(self.healed(since)) } else { None }
    }

    /// The attempt showed nothing about the credential, or never ended.
    pub(super) fn given_back(self, since: Since) -> Option<Self> {
        if !self.is_probe_of(since) {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Quarantined as u64))
    }

    /// One request goes and looks whether the credential is good again.
    pub(super) fn probed(self, now: u64) -> Option<Self> {
        if self.kind() != Kind::Quarantined || self.until() > now {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Probing as u64).next_chapter())
    }

    /// Its rest is over.
    pub(super) fn woken(self, now: u64) -> Option<Self> {
        if !self.is_resting() || self.until() > now {
            return None;
        }
        self.open_to(self.with(KIND, Kind::Usable as u64))
    }

    /// A person takes it out.
    pub(super) fn retired(self) -> Option<Self> {
        let reason = if self.is_alive() { Reason::Inactive } else { self.reason() };
        let next = self.with(KIND, Kind::Retired as u64).with(REASON, reason_bits(reason));
        self.open_to(next.next_chapter())
    }

    /// A person takes it in again: nothing that was held against it counts any more.
    pub(super) fn revived(self) -> Option<Self> {
        let clean = Self::FRESH
            .with(EVER, self.get(EVER))
            .with(MODEL_RESTS, self.get(MODEL_RESTS))
            .with(TICKET, self.get(TICKET));
        if clean == self { None } else { self.open_to(clean.next_chapter()) }
    }

    /// The generation is over.
    pub(super) const fn closed(self) -> Self {
        self.with(CLOSED, 1)
    }

    /// Its model table holds something, or no longer does.
    pub(super) fn with_model_rests(self, some: bool) -> Option<Self> {
        self.open_to(self.with(MODEL_RESTS, u64::from(some)))
    }

    /// `next`, if it is a change, and if changes still count.
    fn open_to(self, next: Self) -> Option<Self> {
        (!self.is_closed() && next != self).then_some(next)
    }

    pub(super) const fn is_probe_of(self, since: Since) -> bool {
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
            Kind::Usable => next.with(KIND, kind as u64),
            Kind::Limited if kind == Kind::Quota => next.with(KIND, kind as u64),
            Kind::Quota if self.until() <= now => next.with(KIND, kind as u64),
            Kind::Retired => self,
            _ => next,
        }
    }

    const fn grown(self, until: u64) -> Self {
        if until > self.until() { self.with(UNTIL, until) } else { self }
    }

    const fn next_chapter(self) -> Self {
        self.with(TICKET, (self.get(TICKET) + 1) & TICKET.max())
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Word")
            .field("kind", &self.kind())
            .field("closed", &self.is_closed())
            .field("model_rests", &self.has_model_rests())
            .field("ever", &self.ever_succeeded())
            .field("reason", &self.reason())
            .field("refused", &self.get(REFUSED))
            .field("limited", &self.get(LIMITED))
            .field("ticket", &self.get(TICKET))
            .field("until", &self.until())
            .finish()
    }
}

const fn reason_bits(reason: Reason) -> u64 {
    match reason {
        Reason::Missing => 0,
        Reason::Expired => 1,
        Reason::Invalid => 2,
        Reason::Revoked => 3,
        Reason::Inactive => 4,
        Reason::InsufficientScope => 5,
    }
}
