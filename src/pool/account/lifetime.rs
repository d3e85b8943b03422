//! When a credential must be looked at more closely, in the pool's own time.

use std::time::{Duration, SystemTime};

use crate::{
    credential::expiry::{RefreshSchedule, Validity},
    sync::{AtomicU64, AtomicUsize, Ordering},
};

/// What is known of the end of one generation. While nothing is due, a request reads one number.
pub(crate) struct Lifetime {
    /// The next time at which somebody must look; at the most there is, nobody ever must.
    look: AtomicU64,
    /// Requests wait for another from here on.
    pub(crate) wait: u64,
    /// It is not sent from here on.
    pub(crate) dead: u64,
    /// It ends, if no clock is wrong.
    pub(crate) end: u64,
    /// That, as a clock on the wall shows it.
    pub(crate) ends: Option<SystemTime>,
    /// A refusal of the one before asked for it.
    pub(crate) after_rejection: bool,
    /// It is the one before, said to be good for longer.
    pub(crate) extended: bool,
    /// How many leads were told of.
    warned: AtomicUsize,
}

impl Lifetime {
    /// Of a credential that comes in at `now`; `asks` says whether somebody may be asked for another.
    pub(crate) fn new(now: u64, life: &Validity, times: RefreshSchedule, asks: bool) -> Self {
        let at = |time: Option<Duration>| {
            // Rounded down: it is not sent for a part of a millisecond too long.
            let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            time.map_or(u64::MAX, |time| now.saturating_add(whole(time)))
        };
        let (ask, wait, dead) = (at(times.advisory), at(times.mandatory), at(times.expired));
        let look = AtomicU64::new(if asks { ask.min(dead) } else { dead });
        let (end, warned) = (at(life.remaining), AtomicUsize::new(0));
        let (after_rejection, extended) = (false, false);
        Self { look, wait, dead, end, ends: life.expires_at, after_rejection, extended, warned }
    }

    /// Whether nothing is due at `now`, which is read only if anything ever is.
    pub(crate) fn is_fresh(&self, now: impl FnOnce() -> u64) -> bool {
        let look = self.look.load(Ordering::Relaxed);
        look == u64::MAX || now() < look
    }

    /// Somebody must look again at `at`, or when it ends.
    pub(crate) fn sync_index(&self, at: u64) {
        self.look.store(at.min(self.dead), Ordering::Relaxed);
    }

    pub(crate) const fn is_expired(&self, now: u64) -> bool {
        now >= self.dead
    }

    /// When it ended and how long ago, if it has, by what is known.
    pub(crate) fn ended(&self, now: impl FnOnce() -> u64) -> Option<(SystemTime, Duration)> {
        let ago = now().checked_sub(self.end)?;
        Some((self.ends?, Duration::from_millis(ago)))
    }

    /// Whether this lead, counted from the longest, was not told of.
    pub(crate) fn warn(&self, passed: usize) -> bool {
        self.warned.fetch_max(passed, Ordering::Relaxed) < passed
    }

    /// Nothing that was known of its end counts any more.
    pub(crate) fn forget(&self) {
        self.look.store(u64::MAX, Ordering::Relaxed);
    }
}
