//! The number of limits in a row without a hint, by which an account's cooldown doubles.
//!
//! # Ordering
//!
//! All accesses are `Relaxed`: the number only sets the length of the next cooldown. A success that read
//! it before a newer limit does not reset it, because the compare-and-swap then fails.

use crate::sync::{AtomicU64, Ordering};

/// See the [module](self).
pub(crate) struct Strikes(AtomicU64);

impl Strikes {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a limit by which the cooldown grew.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Resets the number if it is still `seen`.
    pub(crate) fn end(&self, seen: u64) {
        let _ = self.0.compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Resets the number after an operator has acted.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
