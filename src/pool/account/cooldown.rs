//! Lengths of quarantines and cooldowns, in milliseconds.

use std::time::Duration;

use crate::{classify::Reason, clock::Doubling, pool::settings::Quarantine};

/// The settings of a pool for quarantines and cooldowns.
#[derive(Clone, Debug)]
pub(crate) struct Cooldowns {
    pub(crate) quarantine: Quarantine,
    pub(crate) limited: Doubling,
    pub(crate) out_of_quota: u64,
    pub(crate) model: u64,
    pub(crate) max_rest: u64,
    /// Whether a limited account cools at all.
    pub(crate) cooling: bool,
}

impl Default for Cooldowns {
    fn default() -> Self {
        Self {
            quarantine: Quarantine::new(),
            limited: Doubling::new(Duration::from_secs(1), Duration::from_secs(60)),
            out_of_quota: 30 * 60_000,
            model: 10 * 60_000,
            max_rest: 24 * 60 * 60_000,
            cooling: true,
        }
    }
}

impl Cooldowns {
    /// Returns the quarantine of a credential that was rejected `strikes` times in a row before.
    pub(crate) fn quarantine(&self, reason: Reason, is_proven: bool, strikes: u64) -> u64 {
        let times = &self.quarantine;
        let (first, max) = match reason {
            Reason::Revoked => (times.revoked, times.max_revoked),
            _ if is_proven => (times.trusted, times.max),
            _ => (times.untrusted, times.max),
        };
        millis(Doubling::new(first, max).after(narrow(strikes)))
    }

    /// Returns the cooldown of an account that was limited `strikes` times in a row before, without a hint.
    pub(crate) fn limited(&self, strikes: u64) -> u64 {
        millis(self.limited.after(narrow(strikes))).min(self.max_rest)
    }
}

/// Returns whole milliseconds, rounded up: a cooldown is never shorter than requested.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn narrow(strikes: u64) -> u32 {
    u32::try_from(strikes).unwrap_or(u32::MAX)
}
