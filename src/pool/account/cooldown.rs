//! How long an account is left alone, in milliseconds.

use std::time::Duration;

use crate::{classify::Reason, pool::Quarantine};

/// The times of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Cooldowns {
    pub(crate) quarantine: Quarantine,
    pub(crate) limited_first: u64,
    pub(crate) limited_max: u64,
    pub(crate) out_of_quota: u64,
    pub(crate) model: u64,
    pub(crate) max_rest: u64,
    /// Whether an account that is limited rests at all.
    pub(crate) cooling: bool,
}

impl Default for Cooldowns {
    fn default() -> Self {
        Self {
            quarantine: Quarantine::new(),
            limited_first: 1_000,
            limited_max: 60_000,
            out_of_quota: 30 * 60_000,
            model: 10 * 60_000,
            max_rest: 24 * 60 * 60_000,
            cooling: true,
        }
    }
}

impl Cooldowns {
    /// For a credential that was refused `strikes` times in a row before.
    pub(crate) fn quarantine(&self, reason: Reason, is_proven: bool, strikes: u64) -> u64 {
        let times = &self.quarantine;
        let (first, max) = match reason {
            Reason::Revoked => (times.revoked, times.max_revoked),
            _ if is_proven => (times.trusted, times.max),
            _ => (times.untrusted, times.max),
        };
        doubled(millis(first), strikes, millis(max))
    }

    /// For an account that was limited `strikes` times in a row before, without a hint.
    pub(crate) fn limited(&self, strikes: u64) -> u64 {
        doubled(self.limited_first, strikes, self.limited_max.min(self.max_rest))
    }
}

/// `first`, doubled `strikes` times, at most `max`.
fn doubled(first: u64, strikes: u64, max: u64) -> u64 {
    let factor = 1_u64.checked_shl(u32::try_from(strikes).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    first.saturating_mul(factor).min(max)
}

/// In whole milliseconds, rounded up: a rest is never shorter than was asked for.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
