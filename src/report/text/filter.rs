//! Who knows the secrets, and a quick look at a text: whether it could hold one at all.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use super::forms::{RUN, fold, forms};

/// Who knows the secrets that must not be told.
pub(crate) trait Redact {
    /// Calls `f` with each secret.
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8]));

    /// Whether there are so many that a failed request must not pay for looking; foreign text is
    /// then withheld.
    fn too_many(&self) -> bool {
        false
    }

    /// A quick look that spares most texts the search, when there is one.
    fn filter(&self) -> Option<Arc<Filter>> {
        None
    }
}

/// Nobody's secrets.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoSecrets;

#[cfg(test)]
impl Redact for NoSecrets {
    fn visit_secrets(&self, _: &mut dyn FnMut(&[u8])) {}
}

/// The runs of all secrets, as bits: what is not in here is surely no run of a secret.
///
/// A text without escapes that has no run in here need not be searched: most texts are such. Hashes
/// are keyed, so that nobody can write texts that always have to be searched, or read secrets out
/// of what is kept.
pub(crate) struct Filter {
    keys: (u64, u64),
    bits: Box<[u64]>,
    /// Some secret is shorter than a run, and would have to be searched for everywhere.
    short: bool,
}

/// Bits for each run, which sets four of one word: one text in a dozen, as long as an id, is searched
/// for nothing.
const BITS: usize = 16;

impl Filter {
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

    /// Whether a secret may stand in `text`; `false` is sure.
    pub(crate) fn may_hold(&self, text: &[u8]) -> bool {
        if text.len() < RUN && !self.short {
            return false;
        }
        // An escape can be read in more than one way.
        if self.short || text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
            return true;
        }
        // Each byte is folded once: a run is the one before it, less its first byte.
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

    /// The word of a run, and its bits in there.
    #[allow(clippy::cast_possible_truncation)] // Masked to the number of words.
    fn place(&self, run: u64) -> (usize, u64) {
        // One multiplication to twice the width, folded: as good as it needs to be for a guess.
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
        fn what_it_lets_pass_holds_no_secret(
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
    fn most_texts_need_not_be_searched() {
        let secrets = These((0..100).map(|n| format!("sk-{n:040}").into_bytes()).collect());
        let filter = Filter::of(&secrets);
        let searched = (0..1000).filter(|n| filter.may_hold(format!("/v1/videos/{n}").as_bytes()));
        assert!(searched.count() < 500);
        assert!(filter.may_hold(b"xx sk-000000000 xx"));
        assert!(!Filter::of(&These(Vec::new())).may_hold(b"anything at all"));
    }
}
