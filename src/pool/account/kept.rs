//! The cooldown of an account while the state of its credential has no room for it.
//!
//! While a source is called, and during a quarantine, `until` of the state is another time: the
//! cooldown of the account is kept here, and read when the source has answered.
//!
//! # Ordering
//!
//! `fetch_max` in [`keep`](Kept::keep) pairs with the load in [`get`](Kept::get): a cooldown is kept
//! before the state that hides it is swapped in, so that the answer of a source finds it.

use super::state::GenerationState;
use crate::sync::{AtomicU64, Ordering};

/// The cooldown, as the state of a credential that cools. It only grows: its end is in the highest
/// bits.
pub(crate) struct Kept(AtomicU64);

impl Kept {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Keeps the cooldown of `state`, if it has one. Returns whether it is longer than the kept one.
    pub(crate) fn keep(&self, state: GenerationState) -> bool {
        let cooldown = state.cooldown();
        state.is_cooling() && self.0.fetch_max(cooldown.bits(), Ordering::SeqCst) < cooldown.bits()
    }

    /// Returns the cooldown that is not over at `now`.
    pub(crate) fn get(&self, now: u64) -> Option<GenerationState> {
        let cooldown = GenerationState::from_bits(self.0.load(Ordering::SeqCst));
        (cooldown.until() > now).then_some(cooldown)
    }

    /// Forgets the cooldown because an operator acted.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}
