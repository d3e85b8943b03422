//! A set of small numbers in which the next one is found in a few steps, however many there are.
//!
//! Each word of a level says which words of the level below are not empty. The set is a hint: under
//! concurrent changes it may keep a number too many, or miss one for an instant. A reader checks what it
//! finds, and searches once more before it fails.
//!
//! # Ordering
//!
//! `set` writes the lowest level first, then the levels above; `clear` clears a word, then its bit in the
//! level above, then loads the word again, all `SeqCst`: a `set` in between is seen, and its bit
//! restored. The `Acquire` loads of readers pair with these writes.

use crate::sync::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// A set of numbers below a fixed bound.
pub(crate) struct Bitset {
    /// The numbers themselves first; the last level is one word.
    levels: Box<[Box<[AtomicU64]>]>,
}

impl Bitset {
    /// Builds an empty set for the numbers below `len`.
    pub(crate) fn new(len: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = len;
        loop {
            words = words.div_ceil(64).max(1);
            levels.push((0..words).map(|_| AtomicU64::new(0)).collect());
            if words == 1 {
                break;
            }
        }
        Self { levels: levels.into() }
    }

    /// Returns whether `i` is in the set.
    pub(crate) fn has(&self, i: usize) -> bool {
        self.word(0, i / 64) & bit(i) != 0
    }

    /// Puts `i` into the set.
    pub(crate) fn set(&self, i: usize) {
        self.set_from(0, i);
    }

    /// Takes `i` out of the set.
    pub(crate) fn clear(&self, i: usize) {
        let Some(word) = self.levels[0].get(i / 64) else {
            return;
        };
        word.fetch_and(!bit(i), Ordering::SeqCst);
        let mut at = i / 64;
        for (level, words) in self.levels.iter().enumerate() {
            let Some(above) = self.levels.get(level + 1) else {
                return;
            };
            let (Some(word), Some(parent)) = (words.get(at), above.get(at / 64)) else {
                return;
            };
            if word.load(Ordering::SeqCst) != 0 {
                return;
            }
            parent.fetch_and(!bit(at), Ordering::SeqCst);
            // Another thread may have set a bit meanwhile.
            if word.load(Ordering::SeqCst) != 0 {
                return self.set_from(level + 1, at);
            }
            at /= 64;
        }
    }

    /// Returns whether the set is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.word(self.levels.len() - 1, 0) == 0
    }

    /// Returns the smallest number in the set that is at least `from` and below `end`.
    pub(crate) fn next(&self, from: usize, end: usize) -> Option<usize> {
        let mut from = from;
        while from < end {
            match self.look(from) {
                Look::Found(i) => return (i < end).then_some(i),
                Look::Stale(next) => from = next,
                Look::Nothing => return None,
            }
        }
        None
    }

    fn look(&self, from: usize) -> Look {
        let (mut level, mut at) = (0, from);
        // Up, until a word holds something at or after `at`.
        let mut found = loop {
            let rest = self.word(level, at / 64) & (u64::MAX << (at % 64));
            if rest != 0 {
                break at / 64 * 64 + rest.trailing_zeros() as usize;
            }
            level += 1;
            at = at / 64 + 1;
            if level == self.levels.len() {
                return Look::Nothing;
            }
        };
        // Down, to the first number below it.
        while level > 0 {
            level -= 1;
            let word = self.word(level, found);
            if word == 0 {
                return Look::Stale((found + 1) << (6 * (level + 1)));
            }
            found = found * 64 + word.trailing_zeros() as usize;
        }
        Look::Found(found)
    }

    fn set_from(&self, level: usize, i: usize) {
        let mut at = i;
        for words in self.levels.iter().skip(level) {
            if let Some(word) = words.get(at / 64) {
                word.fetch_or(bit(at), Ordering::SeqCst);
            }
            at /= 64;
        }
    }

    fn word(&self, level: usize, at: usize) -> u64 {
        let word = self.levels.get(level).and_then(|words| words.get(at));
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }
}

enum Look {
    Found(usize),
    /// A level showed a word that was empty: go on from here.
    Stale(usize),
    Nothing,
}

const fn bit(i: usize) -> u64 {
    1 << (i % 64)
}
