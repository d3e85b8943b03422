//! The times at which a credential is renewed and expires, in the pool's own time.

use std::time::{Duration, SystemTime};

use crate::{
    credential::expiry::{RefreshSchedule, Validity},
    sync::{AtomicU64, AtomicUsize, Ordering},
};

/// The known times of one generation. While nothing is due, a request reads one number.
pub(crate) struct Lifetime {
    /// The next time at which a request must check them; `u64::MAX` is never.
    check: AtomicU64,
    /// From here on, requests wait for another credential.
    pub(crate) wait: u64,
    /// From here on, it is not sent.
    pub(crate) dead: u64,
    /// Its expiry, if no clock is wrong.
    pub(crate) end: u64,
    /// Its expiry by the wall clock.
    pub(crate) ends: Option<SystemTime>,
    /// The source was called for it because the one before was rejected.
    pub(crate) after_rejection: bool,
    /// It is the token of the generation before, with a later expiry.
    pub(crate) extended: bool,
    /// The number of warnings that were reported.
    warned: AtomicUsize,
}

impl Lifetime {
    /// Builds the times of a credential that is put in at `now`; `asks` says whether it has a source.
    pub(crate) fn new(now: u64, life: &Validity, times: RefreshSchedule, asks: bool) -> Self {
        let at = |time: Option<Duration>| {
            // Rounded down: it is not sent for a part of a millisecond too long.
            let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            time.map_or(u64::MAX, |time| now.saturating_add(whole(time)))
        };
        let (ask, wait, dead) = (at(times.advisory), at(times.mandatory), at(times.expired));
        let check = AtomicU64::new(if asks { ask.min(dead) } else { dead });
        let (end, warned) = (at(life.remaining), AtomicUsize::new(0));
        let (after_rejection, extended) = (false, false);
        Self { check, wait, dead, end, ends: life.expires_at, after_rejection, extended, warned }
    }

    /// Returns whether nothing is due at `now`, which is read only if anything ever is.
    pub(crate) fn is_fresh(&self, now: impl FnOnce() -> u64) -> bool {
        let check = self.check.load(Ordering::Relaxed);
        check == u64::MAX || now() < check
    }

    /// Sets the next check to `at`, or to the expiry if that is earlier.
    pub(crate) fn check_at(&self, at: u64) {
        self.check.store(at.min(self.dead), Ordering::Relaxed);
    }

    pub(crate) const fn is_expired(&self, now: u64) -> bool {
        now >= self.dead
    }

    /// Returns when it expired, and how long ago, if it has.
    pub(crate) fn ended(&self, now: impl FnOnce() -> u64) -> Option<(SystemTime, Duration)> {
        let ago = now().checked_sub(self.end)?;
        Some((self.ends?, Duration::from_millis(ago)))
    }

    /// Notes the warning with this number, from the longest lead. Returns whether it is due.
    pub(crate) fn warn(&self, passed: usize) -> bool {
        self.warned.fetch_max(passed, Ordering::Relaxed) < passed
    }

    /// Forgets its expiry.
    pub(crate) fn forget(&self) {
        self.check.store(u64::MAX, Ordering::Relaxed);
    }
}
