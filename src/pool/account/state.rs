//! The state of one generation of an account's credential, packed into 64 bits.
//!
//! Every change is one compare-and-swap; the changes are in [`transitions`](super::transitions)
//! and [`renewal`](super::renewal). The state belongs to the generation: evidence about an old generation
//! cannot touch the new one.
//!
//! ```text
//! bit  0    3      4               5      6      9        14     25       26    64
//!      kind closed model_cooldowns proven reason rejected ticket reported until
//! ```
//!
//! `until` is in milliseconds since the pool was built, saturating after eight years.

use crate::classify::Reason;

/// Whether the credential may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may be used.
    Usable,
    /// Limited: not used before `until`.
    Limited,
    /// Out of quota: not used before `until`.
    Quota,
    /// Rejected: not used before `until`, then by one probe.
    Quarantined,
    /// Rejected, and a probe is in flight.
    Probing,
    /// Out until an operator acts.
    Retired,
    /// It expires soon, and its source is called: it is kept in case the call fails.
    Expiring,
    /// It may not be sent (it was rejected, has expired, or was never loaded), and its source is to be
    /// called, not before `until`. The largest `until` says that the call is in progress.
    Absent,
}

/// The packed state of a generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GenerationState(u64);

/// The knowledge of an attempt when its credential was leased.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// The state at that time; for a probe, as the probe left it.
    pub(crate) seen: GenerationState,
    /// Whether the attempt is a probe.
    pub(crate) probe: bool,
}

/// Some bits of the state.
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
pub(crate) const REJECTED: Field = Field { at: 9, bits: 5 };
pub(crate) const TICKET: Field = Field { at: 14, bits: 11 };
pub(crate) const REPORTED: Field = Field { at: 25, bits: 1 };
pub(crate) const UNTIL: Field = Field { at: 26, bits: 38 };

impl Field {
    pub(crate) const fn max(self) -> u64 {
        (1 << self.bits) - 1
    }
}

// === impl GenerationState: reading ===

impl GenerationState {
    /// The state of a credential about which nothing is known.
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

    /// Returns the state with `field` at `value`, or at its maximum.
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

    /// Returns whether the generation was replaced or its account removed: evidence no longer counts.
    pub(crate) const fn is_closed(self) -> bool {
        self.get(CLOSED) == 1
    }

    /// Returns whether the generation's table of model cooldowns may hold an entry.
    pub(crate) const fn has_model_cooldowns(self) -> bool {
        self.get(MODEL_COOLDOWNS) == 1
    }

    /// Returns whether the credential was ever accepted.
    pub(crate) const fn is_proven(self) -> bool {
        self.get(PROVEN) == 1
    }

    /// Returns why it was rejected or retired; meaningless in other states.
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

    /// Returns until when it is not used, in a state that has such a time.
    pub(crate) const fn until(self) -> u64 {
        self.get(UNTIL)
    }

    /// Returns whether it is neither rejected nor retired. Cooling and refreshing count as alive.
    pub(crate) const fn is_alive(self) -> bool {
        !matches!(self.kind(), Kind::Quarantined | Kind::Probing | Kind::Retired)
    }

    /// Returns whether a request that has leased it may send it.
    pub(crate) const fn may_be_sent(self) -> bool {
        self.is_alive() && !matches!(self.kind(), Kind::Absent)
    }

    /// Returns whether a call to its source is due or in progress.
    pub(crate) const fn is_renewing(self) -> bool {
        matches!(self.kind(), Kind::Expiring | Kind::Absent)
    }

    /// Returns whether its source is called because it was rejected.
    pub(crate) const fn was_rejected(self) -> bool {
        matches!(self.kind(), Kind::Absent) && self.get(REJECTED) > 0
    }

    /// Returns whether that rejection was reported before the call.
    pub(crate) const fn was_reported(self) -> bool {
        self.was_rejected() && self.get(REPORTED) == 1
    }

    /// Returns whether its source is being called.
    pub(crate) const fn is_under_way(self) -> bool {
        self.is_renewing() && self.until() == UNTIL.max()
    }

    /// Returns whether it is limited or out of quota, also after its time is up.
    pub(crate) const fn is_cooling(self) -> bool {
        matches!(self.kind(), Kind::Limited | Kind::Quota)
    }

    /// Returns whether its `until` is not that of the account's cooldown alone.
    pub(crate) const fn hides_cooldown(self) -> bool {
        !matches!(self.kind(), Kind::Usable | Kind::Limited | Kind::Quota | Kind::Retired)
    }

    /// Returns its cooldown alone.
    pub(crate) fn cooldown(self) -> Self {
        Self::NEW.with(KIND, self.kind() as u64).with(UNTIL, self.until())
    }

    /// Returns whether a request that starts at `now` may use it, and not as a probe.
    #[cfg(test)]
    pub(crate) const fn serves(self, now: u64) -> bool {
        matches!(self.kind(), Kind::Usable) || self.is_cooling() && self.until() <= now
    }
}

impl std::fmt::Debug for GenerationState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GenerationState")
            .field("kind", &self.kind())
            .field("closed", &self.is_closed())
            .field("model_cooldowns", &self.has_model_cooldowns())
            .field("proven", &self.is_proven())
            .field("reason", &self.reason())
            .field("rejected", &self.get(REJECTED))
            .field("ticket", &self.get(TICKET))
            .field("reported", &self.was_reported())
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
