//! The state of one generation of an account's credential, packed into one word.
//!
//! Every change is one compare-and-swap; what changes it is in [`state`](super::state). The word belongs to the
//! generation and not to the account: evidence about an old generation changes a word that nobody
//! looks at any more, and cannot touch the new one.
//!
//! ```text
//! bit  0  3      4           5    6      9       13      17     25   26    64
//!      kind closed model_cooldowns ever reason refused limited ticket told until
//! ```
//!
//! `until` is in milliseconds since the pool was built, saturating after eight years.

use crate::classify::Reason;

/// What may be done with the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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
    /// It ends soon, and its source is asked for another: it is kept for when that fails.
    Expiring,
    /// It may not be sent (it was refused, has ended, or never was there), and its source is asked
    /// for another: not before `until`; at the most `until` there is, that is under way.
    Absent,
}

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GenerationState(u64);

/// What an attempt knew when it was given its credential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// The word at that time; for a probe, as the probe left it.
    pub(crate) seen: GenerationState,
    /// Whether the attempt is a probe.
    pub(crate) probe: bool,
}

/// Some bits of a word.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    at: u32,
    bits: u32,
}

pub(crate) const KIND: Field = Field { at: 0, bits: 3 };
pub(crate) const CLOSED: Field = Field { at: 3, bits: 1 };
pub(crate) const MODEL_COOLDOWNS: Field = Field { at: 4, bits: 1 };
pub(crate) const PROVEN: Field = Field { at: 5, bits: 1 };
pub(crate) const REASON: Field = Field { at: 6, bits: 3 };
pub(crate) const REJECTED: Field = Field { at: 9, bits: 4 };
pub(crate) const LIMITED: Field = Field { at: 13, bits: 4 };
pub(crate) const TICKET: Field = Field { at: 17, bits: 8 };
pub(crate) const REPORTED: Field = Field { at: 25, bits: 1 };
pub(crate) const UNTIL: Field = Field { at: 26, bits: 38 };

impl Field {
    pub(crate) const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }
}

// === impl Word: reading ===

impl GenerationState {
    /// A credential about which nothing is known.
    pub(crate) const NEW: Self = Self(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn get(self, field: Field) -> u64 {
        (self.0 >> field.at) & field.max()
    }

    /// With `field` at `value`, or at its most.
    pub(crate) const fn with(self, field: Field, value: u64) -> Self {
        let value = if value > field.max() { field.max() } else { value };
        Self(self.0 & !(field.max() << field.at) | (value << field.at))
    }

    pub(crate) const fn kind(self) -> Kind {
        match self.get(KIND) {
            0 => Kind::Usable,
            1 => Kind::Limited,
            2 => Kind::Quota,
            3 => Kind::Quarantined,
            4 => Kind::Probing,
            5 => Kind::Retired,
            6 => Kind::Expiring,
            _ => Kind::Absent,
        }
    }

    /// Whether the generation was replaced, or its account removed: no evidence counts any more.
    pub(crate) const fn is_closed(self) -> bool {
        self.get(CLOSED) == 1
    }

    /// Whether the generation's model table may hold something.
    pub(crate) const fn has_model_cooldowns(self) -> bool {
        self.get(MODEL_COOLDOWNS) == 1
    }

    /// Whether the credential ever was accepted.
    pub(crate) const fn is_proven(self) -> bool {
        self.get(PROVEN) == 1
    }

    /// Why it was refused, or retired; means nothing otherwise.
    pub(crate) const fn reason(self) -> Reason {
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
    pub(crate) const fn until(self) -> u64 {
        self.get(UNTIL)
    }

    /// Not refused and not retired. What rests is alive, and so is what its source renews.
    pub(crate) const fn is_alive(self) -> bool {
        !matches!(self.kind(), Kind::Quarantined | Kind::Probing | Kind::Retired)
    }

    /// Whether a request that has it already may send it.
    pub(crate) const fn may_be_sent(self) -> bool {
        self.is_alive() && !matches!(self.kind(), Kind::Absent)
    }

    /// Whether its source is being asked, or is to be asked, for another.
    pub(crate) const fn is_renewing(self) -> bool {
        matches!(self.kind(), Kind::Expiring | Kind::Absent)
    }

    /// Whether its source is asked because it was refused.
    pub(crate) const fn was_rejected(self) -> bool {
        matches!(self.kind(), Kind::Absent) && self.get(REJECTED) > 0
    }

    /// Whether that refusal was told before it was asked.
    pub(crate) const fn was_reported(self) -> bool {
        self.was_rejected() && self.get(REPORTED) == 1
    }

    /// Whether its source is being asked now.
    pub(crate) const fn is_under_way(self) -> bool {
        self.is_renewing() && self.until() == UNTIL.max()
    }

    /// Limited or out of quota, whether or not the time is up.
    pub(crate) const fn is_cooling(self) -> bool {
        matches!(self.kind(), Kind::Limited | Kind::Quota)
    }

    /// Whether a request that starts at `now` may use it, and not as a probe.
    #[cfg(test)]
    pub(crate) const fn serves(self, now: u64) -> bool {
        matches!(self.kind(), Kind::Usable) || self.is_cooling() && self.until() <= now
    }
}

impl std::fmt::Debug for GenerationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Word")
            .field("kind", &self.kind())
            .field("closed", &self.is_closed())
            .field("model_cooldowns", &self.has_model_cooldowns())
            .field("ever", &self.is_proven())
            .field("reason", &self.reason())
            .field("refused", &self.get(REJECTED))
            .field("limited", &self.get(LIMITED))
            .field("ticket", &self.get(TICKET))
            .field("told", &self.was_reported())
            .field("until", &self.until())
            .finish()
    }
}

pub(crate) const fn reason_bits(reason: Reason) -> u64 {
    match reason {
        Reason::Missing => 0,
        Reason::Expired => 1,
        Reason::Invalid => 2,
        Reason::Revoked => 3,
        Reason::Inactive => 4,
        Reason::InsufficientScope => 5,
    }
}
