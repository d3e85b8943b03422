//! The source of the secrets to redact, and a fast filter for texts that hold none.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::forms::{RUN, fold, forms};

/// A source of secrets that must not be in an event.
pub(crate) trait Redact {
    /// Calls `f` with each secret.
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8]));

    /// Returns whether there are too many secrets to search for in a request. Foreign text is then
    /// withheld.
    fn too_many(&self) -> bool {
        false
    }

    /// Returns a filter that spares most texts the search, if there is one.
    fn filter(&self) -> Option<Arc<Filter>> {
        None
    }
}

/// A source without secrets.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoSecrets;

#[cfg(test)]
impl Redact for NoSecrets {
    fn visit_secrets(&self, _: &mut dyn FnMut(&[u8])) {}
}

/// A Bloom filter of the runs of all secrets.
///
/// A text without escapes and without a run in the filter holds no secret, and is not searched. The
/// hashes are keyed: a text cannot be crafted to be always searched, and the bits reveal no secret.
pub(crate) struct Filter {
    keys: (u64, u64),
    bits: Box<[u64]>,
    /// A secret is shorter than a run, so that every text must be searched.
    short: bool,
}

/// Bits for each run, which sets four bits of one word. About one in twelve texts as long as an id is
/// searched in vain.
const BITS: usize = 16;

impl Filter {
    /// Builds the filter of these secrets.
    pub(crate) fn of(secrets: &dyn Redact) -> Self {
        let mut runs = 0usize;
        let mut short = false;
        secrets.visit_secrets(&mut |secret| {
            forms(secret, &mut |form| {
                short |= form.len() < RUN;
                runs += form.len();
            });
        });
        let words = (runs * BITS).div_ceil(64).next_power_of_two();
        let random = RandomState::new();
        let keys = (random.hash_one(1), random.hash_one(2));
        let mut filter = Self { keys, bits: vec![0; words].into_boxed_slice(), short };
        secrets.visit_secrets(&mut |secret| {
            forms(secret, &mut |form| {
                for run in form.windows(RUN).filter_map(|run| run.try_into().ok()) {
                    let (word, bits) = filter.place(u64::from_le_bytes(run));
                    if let Some(word) = filter.bits.get_mut(word) {
                        *word |= bits;
                    }
                }
            });
        });
        filter
    }

    /// Returns whether `text` may hold a secret. There are no false negatives.
    pub(crate) fn may_hold(&self, text: &[u8]) -> bool {
        if text.len() < RUN && !self.short {
            return false;
        }
        // An escape can be read in several ways.
        if self.short || text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            return true;
        }
        // Each byte is folded once: a run is the previous one without its first byte.
        let mut run = 0;
        text.iter().enumerate().any(|(at, byte)| {
            run = run >> 8 | u64::from(fold(*byte)) << 56;
            if at + 1 < RUN {
                return false;
            }
            let (word, bits) = self.place(run);
            self.bits.get(word).is_some_and(|word| word & bits == bits)
        })
    }

    /// Returns the word of a run, and its bits in that word.
    #[allow(clippy::cast_possible_truncation)] // Masked to the number of words.
    fn place(&self, run: u64) -> (usize, u64) {
        // One multiplication to twice the width, folded: good enough for a filter.
        let wide = u128::from(run ^ self.keys.0) * u128::from(self.keys.1 | 1);
        let hash = (wide >> 64) as u64 ^ wide as u64;
        let bit = |n: u32| 1 << (hash >> (6 * n) & 63);
        ((hash >> 24) as usize & (self.bits.len() - 1), bit(0) | bit(1) | bit(2) | bit(3))
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("words", &self.bits.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::text::redact::hidden;

    struct These(Vec<Vec<u8>>);

    impl Redact for These {
        fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
            self.0.iter().for_each(|secret| f(secret));
        }
    }

    proptest! {
        #[test]
        fn filter_passes_no_text_with_a_secret(
            secrets in proptest::collection::vec("[!-~]{1,40}", 0..5),
            before in "[ -~]{0,20}", from in 0usize..40, len in 0usize..40, after in "[ -~]{0,20}",
            coded in any::<bool>(), pick in any::<prop::sample::Index>(),
        ) {
            use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
            let secrets: Vec<Vec<u8>> = secrets.into_iter().map(String::into_bytes).collect();
            let mut middle = Vec::new();
            if !secrets.is_empty() {
                let secret = &secrets[pick.index(secrets.len())];
                middle = secret.iter().copied().skip(from).take(len).collect();
            }
            if coded {
                middle = URL_SAFE_NO_PAD.encode(&middle).into_bytes();
            }
            let text = [before.as_bytes(), &middle, after.as_bytes()].concat();
            let secrets = These(secrets);
            let filter = Filter::of(&secrets);
            if hidden(&text, &secrets).contains(&true) {
                prop_assert!(filter.may_hold(&text));
            }
        }
    }

    #[test]
    fn filter_spares_most_texts_the_search() {
        let secrets = These((0..100).map(|n| format!("sk-{n:040}").into_bytes()).collect());
        let filter = Filter::of(&secrets);
        let searched = (0..1000).filter(|n| filter.may_hold(format!("/v1/videos/{n}").as_bytes()));
        assert!(searched.count() < 500);
        assert!(filter.may_hold(b"xx sk-000000000 xx"));
        assert!(!Filter::of(&These(Vec::new())).may_hold(b"anything at all"));
    }
}
