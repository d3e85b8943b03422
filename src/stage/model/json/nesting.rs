//! The stack of open brackets.

/// The open brackets, one bit each: set for an object.
///
/// The innermost 64 need no allocation; a hundred thousand take 12 KiB.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// The levels of the last word, the innermost in the lowest bit.
    word: u64,
    /// The number of levels.
    depth: usize,
    /// The full words of the outer levels.
    outer: Vec<u64>,
}

impl Nesting {
    #[inline]
    pub(super) fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth % 64 == 0 {
            self.outer.push(self.word);
        }
        self.word = (self.word << 1) | u64::from(object);
        self.depth += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) {
        self.word >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth % 64 == 0 {
            self.word = self.outer.pop().unwrap_or_default();
        }
    }

    /// Returns whether the innermost bracket is an object's. `None` if all are closed.
    #[inline]
    pub(super) fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.word & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Nesting;

    proptest! {
        #[test]
        fn nesting_matches_a_stack_of_bools(runs in prop::collection::vec((any::<bool>(), 0..100_usize, any::<u64>()), 0..20)) {
            let (mut nesting, mut oracle) = (Nesting::default(), Vec::new());
            for (push, times, bits) in runs {
                for n in 0..times {
                    let object = bits >> (n % 64) & 1 == 1;
                    if push {
                        nesting.push(object);
                        oracle.push(object);
                    } else if oracle.pop().is_some() {
                        nesting.pop();
                    }
                    prop_assert_eq!(nesting.innermost(), oracle.last().copied());
                }
            }
        }
    }

    #[test]
    fn nesting_allocates_a_bit_a_level_beyond_sixty_four() {
        let mut nesting = Nesting::default();
        for _ in 0..64 {
            nesting.push(true);
        }
        assert_eq!(nesting.outer.capacity(), 0);
        for _ in 64..100_000 {
            nesting.push(false);
        }
        assert!(nesting.outer.capacity() * 64 <= 2 * 100_000 + 64);
    }
}
