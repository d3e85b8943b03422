//! An account's rest, for as long as its credential's state has no room for it.
//!
//! While a source is asked, the state says until when that is, and of a refused credential, until when
//! it is not probed: the account's rest stands here. It is read only where a source has answered.

use super::state::GenerationState;
use crate::sync::{AtomicU64, Ordering};

/// The account's rest, as the state of a credential that rests and of which nothing else is known.
/// It only grows: the end of the rest stands where a number counts most.
pub(crate) struct Kept(AtomicU64);

impl Kept {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Keeps the rest of `word`, if it has one. Whether that is longer than what was kept.
    pub(crate) fn keep(&self, state: GenerationState) -> bool {
        let rest = state.rest();
        state.is_cooling() && self.0.fetch_max(rest.bits(), Ordering::SeqCst) < rest.bits()
    }

    /// The rest that is not over at `now`, if there is one.
    pub(crate) fn get(&self, now: u64) -> Option<GenerationState> {
        let rest = GenerationState::from_bits(self.0.load(Ordering::SeqCst));
        (rest.until() > now).then_some(rest)
    }

    /// A person has acted: no rest counts any more.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}
