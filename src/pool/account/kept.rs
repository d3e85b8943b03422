//! An account's rest, for as long as its credential's state has no room for it.
//!
//! While a source is asked, the state says until when that is, and of a refused credential, until when
//! it is not probed: the account's rest stands here. It is read only where a source has answered.

use super::{
    entry::Generation,
    state::{GenerationState, KIND, Kind, LIMITED, UNTIL},
};
use crate::{
    pool::shared::{Change, Shared},
    sync::{AtomicU64, Ordering},
};

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

impl GenerationState {
    /// Whether its `until` is not, or not only, that of the account's rest.
    pub(crate) const fn hides_cooldown(self) -> bool {
        !matches!(self.kind(), Kind::Usable | Kind::Limited | Kind::Quota | Kind::Retired)
    }

    /// Its rest, and nothing else.
    fn rest(self) -> Self {
        Self::NEW.with(KIND, self.kind() as u64).with(UNTIL, self.until())
    }
}

impl Shared {
    /// Evidence of a rest: `f` says what it makes of a state. Whether anything changed, and how the
    /// state did, if it was the state.
    pub(crate) fn note_cooldown(
        &self,
        generation: &Generation,
        now: u64,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> (bool, Option<Change>) {
        let state = |state: GenerationState| if state.is_renewing() { None } else { f(state) };
        let change = self.change(generation, state);
        let state = generation.state();
        if !state.hides_cooldown() || state.is_closed() {
            return (change.is_some(), change);
        }
        let kept = &generation.account.kept;
        let before = kept.get(now).unwrap_or(GenerationState::NEW);
        let grown = f(before.with(LIMITED, state.get(LIMITED))).is_some_and(|rest| kept.keep(rest));
        // Its source may have answered in between.
        self.restore_cooldown(generation, now);
        (if state.is_renewing() { grown } else { change.is_some() }, change)
    }

    /// The account's rest goes on with the credential that it has, when that may be used again.
    pub(crate) fn restore_cooldown(&self, generation: &Generation, now: u64) {
        if let Some(rest) = generation.account.kept.get(now) {
            self.change(generation, |state| state.cooling_like(rest, now));
        }
    }
}
