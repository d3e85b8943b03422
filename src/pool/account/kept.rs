//! An account's rest, for as long as its credential's state has no room for it.
//!
//! While a source is asked, the state says until when that is, and of a refused credential, until when
//! it is not probed: the account's rest stands here. It is read only where a source has answered.

use super::{
    entry::Generation,
    state::{KIND, Kind, LIMITED, UNTIL, Word},
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
    pub(crate) fn keep(&self, word: Word) -> bool {
        let rest = word.rest();
        word.is_resting() && self.0.fetch_max(rest.bits(), Ordering::SeqCst) < rest.bits()
    }

    /// The rest that is not over at `now`, if there is one.
    pub(crate) fn get(&self, now: u64) -> Option<Word> {
        let rest = Word::from_bits(self.0.load(Ordering::SeqCst));
        (rest.until() > now).then_some(rest)
    }

    /// A person has acted: no rest counts any more.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

impl Word {
    /// Whether its `until` is not, or not only, that of the account's rest.
    pub(crate) const fn hides_rest(self) -> bool {
        !matches!(self.kind(), Kind::Usable | Kind::Limited | Kind::Quota | Kind::Retired)
    }

    /// Its rest, and nothing else.
    fn rest(self) -> Self {
        Self::FRESH.with(KIND, self.kind() as u64).with(UNTIL, self.until())
    }
}

impl Shared {
    /// Evidence of a rest: `f` says what it makes of a state. Whether anything changed, and how the
    /// state did, if it was the state.
    pub(crate) fn let_rest(
        &self,
        generation: &Generation,
        now: u64,
        f: impl Fn(Word) -> Option<Word>,
    ) -> (bool, Option<Change>) {
        let state = |word: Word| if word.is_renewed() { None } else { f(word) };
        let change = self.change(generation, state);
        let word = generation.word();
        if !word.hides_rest() || word.is_closed() {
            return (change.is_some(), change);
        }
        let kept = &generation.member.kept;
        let before = kept.get(now).unwrap_or(Word::FRESH);
        let grown = f(before.with(LIMITED, word.get(LIMITED))).is_some_and(|rest| kept.keep(rest));
        // Its source may have answered in between.
        self.go_on_resting(generation, now);
        (if word.is_renewed() { grown } else { change.is_some() }, change)
    }

    /// The account's rest goes on with the credential that it has, when that may be used again.
    pub(crate) fn go_on_resting(&self, generation: &Generation, now: u64) {
        if let Some(rest) = generation.member.kept.get(now) {
            self.change(generation, |word| word.at_rest(rest, now));
        }
    }
}
