use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Under concurrent changes a level may go on saying that something is below it.
    #[test]
    fn stale_level_hides_no_number(
        len in 1..300_000_usize,
        set in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        wrong in prop::collection::vec((any::<prop::sample::Index>(), 1..4_usize), 0..6),
        from in any::<prop::sample::Index>(),
        end in any::<prop::sample::Index>(),
    ) {
        let bits = Bitset::new(len);
        for (i, right) in wrong {
            let i = i.index(len);
            bits.set(i);
            // As if a late writer had written the levels above.
            for (level, words) in bits.levels.iter().enumerate().take(right) {
                words[i >> (6 * (level + 1))].store(0, Ordering::SeqCst);
            }
        }
        let set: BTreeSet<_> = set.iter().map(|i| i.index(len)).collect();
        for i in &set {
            bits.set(*i);
        }
        let (from, end) = (from.index(len), end.index(len) + 1);
        let expected = if from < end { set.range(from..end).next().copied() } else { None };
        prop_assert_eq!(bits.next(from, end), expected);
    }
}
