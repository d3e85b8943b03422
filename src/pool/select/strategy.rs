//! The strategies of selection. Each walks over the positions in the index, and lets the account's
//! state decide.

use std::ops::Range;

use super::candidate::{Search, position};
use crate::{
    pool::{
        account::PooledAccount,
        index::{Cursor, FEW, Tier, rendezvous, weighted},
        lease::Lease,
        settings::Selection,
    },
    sync::Ordering,
};

/// The number of accounts of a large tier that are compared.
const SAMPLES: usize = 8;

impl Search<'_> {
    /// Leases an account of the highest tier that has one.
    pub(crate) fn choose(&mut self) -> Option<Lease> {
        let roster = self.roster;
        if self.moment.later {
            // The turn is taken when the attempt starts, not by a search for a later time.
            return self.first(0..roster.entries.len());
        }
        let cursors = &self.shared.cursors;
        roster.tiers.iter().enumerate().find_map(|(i, tier)| self.choose_in(tier, cursors.of(i)))
    }

    fn choose_in(&mut self, tier: &Tier, cursor: Cursor<'_>) -> Option<Lease> {
        let lease = match (self.query.sticky, self.shared.settings.selection) {
            (Some(key), _) => self.sticky(tier, key),
            (None, Selection::RoundRobin) => return self.round_robin(tier, cursor),
            (None, Selection::FillFirst) => None,
            (None, Selection::Weighted) => self.weighted(tier, cursor),
            (None, Selection::LeastInFlight) => {
                self.least(tier, cursor, |account| u64::from(account.open.load(Ordering::Relaxed)))
            }
            (None, Selection::MostRemaining) => self.least(tier, cursor, |account| {
                u64::MAX - account.remaining.load(Ordering::Relaxed)
            }),
        };
        // Accounts that the strategy leaves out: a weight of 0, a probe that another request took.
        lease.or_else(|| self.first(tier.start..tier.end))
    }

    /// Leases the first within `range` that may serve.
    fn first(&mut self, range: Range<usize>) -> Option<Lease> {
        self.first_at(range).map(|(_, lease)| lease)
    }

    fn first_at(&mut self, range: Range<usize>) -> Option<(usize, Lease)> {
        let mut from = range.start;
        while let Some(i) = self.roster.usable.next(from, range.end) {
            if let Some(lease) = self.take(i, self.roster.entries.get(i)?) {
                return Some((i, lease));
            }
            from = i + 1;
        }
        None
    }

    fn round_robin(&mut self, tier: &Tier, cursor: Cursor<'_>) -> Option<Lease> {
        let start = position(cursor, tier);
        let found = self.first_at(start..tier.end).or_else(|| self.first_at(tier.start..start));
        let (i, lease) = found?;
        cursor.set(i as u64 + 1);
        Some(lease)
    }

    fn weighted(&mut self, tier: &Tier, cursor: Cursor<'_>) -> Option<Lease> {
        let Some(cycle) = &tier.cycle else {
            return self.weighted_few(tier, cursor);
        };
        // Tiers may share a cursor: a tier without a usable account takes no turn.
        let (mut turn, mut last) = (cursor.get(), tier.start);
        for _ in 0..SAMPLES {
            let i = tier.start + cycle.turn(turn)?;
            turn = turn.wrapping_add(1);
            if self.roster.usable.has(i) {
                if let Some(lease) = self.take(i, self.roster.entries.get(i)?) {
                    cursor.set(turn);
                    return Some(lease);
                }
            }
            last = i;
        }
        let heavy = self.first_heavy(last..tier.end);
        let heavy = heavy.or_else(|| self.first_heavy(tier.start..last))?;
        cursor.set(turn);
        Some(heavy)
    }

    /// Leases the first within `range` whose weight is not 0.
    fn first_heavy(&mut self, range: Range<usize>) -> Option<Lease> {
        let mut from = range.start;
        while let Some(i) = self.roster.usable.next(from, range.end) {
            let entry = self.roster.entries.get(i)?;
            if entry.account.weight > 0 {
                if let Some(lease) = self.take(i, entry) {
                    return Some(lease);
                }
            }
            from = i + 1;
        }
        None
    }

    /// Leases by weight, exactly among the accounts that may serve now.
    fn weighted_few(&mut self, tier: &Tier, cursor: Cursor<'_>) -> Option<Lease> {
        let mut weights = [0; FEW];
        let mut from = tier.start;
        while let Some(i) = self.roster.usable.next(from, tier.end) {
            from = i + 1;
            let entry = self.roster.entries.get(i)?;
            if entry.account.weight > 0 && self.judge(i, entry, &entry.current.load()).is_some() {
                if let Some(weight) = weights.get_mut(i - tier.start) {
                    *weight = entry.account.weight;
                }
            }
        }
        let i = tier.start + weighted::turn_of(&weights, cursor.get())?;
        // Only now, as above.
        cursor.advance();
        self.take(i, self.roster.entries.get(i)?)
    }

    /// Leases the account with the least `load`, the next in turn among equals.
    fn least(
        &mut self,
        tier: &Tier,
        cursor: Cursor<'_>,
        load: impl Fn(&PooledAccount) -> u64,
    ) -> Option<Lease> {
        let start = position(cursor, tier);
        let mut best: Option<(u64, usize)> = None;
        let mut seen = 0;
        for range in [start..tier.end, tier.start..start] {
            let mut from = range.start;
            while let Some(i) = self.roster.usable.next(from, range.end) {
                from = i + 1;
                seen += 1;
                if seen > FEW {
                    let (_, i) = self.best_sample(tier, cursor.advance(), &load)?;
                    return self.take(i, self.roster.entries.get(i)?);
                }
                self.compare(&mut best, i, &load);
            }
        }
        let (_, i) = best?;
        cursor.set(i as u64 + 1);
        self.take(i, self.roster.entries.get(i)?)
    }

    /// Returns the best of a few samples that are spread by `n`.
    fn best_sample(
        &mut self,
        tier: &Tier,
        n: u64,
        load: &impl Fn(&PooledAccount) -> u64,
    ) -> Option<(u64, usize)> {
        let mut best = None;
        let (mut seed, len) = (rendezvous::mix(n), (tier.end - tier.start) as u64);
        for _ in 0..SAMPLES {
            seed = rendezvous::mix(seed);
            let from = tier.start + usize::try_from(seed.checked_rem(len)?).unwrap_or(0);
            let next = self.roster.usable.next(from, tier.end);
            let i = next.or_else(|| self.roster.usable.next(tier.start, from))?;
            self.compare(&mut best, i, load);
        }
        best
    }

    fn compare(
        &mut self,
        best: &mut Option<(u64, usize)>,
        i: usize,
        load: &impl Fn(&PooledAccount) -> u64,
    ) {
        let Some(entry) = self.roster.entries.get(i) else {
            return;
        };
        let load = load(&entry.account);
        if best.is_none_or(|(least, _)| load < least)
            && self.judge(i, entry, &entry.current.load()).is_some()
        {
            *best = Some((load, i));
        }
    }

    /// Leases the account with the highest draw for `key`: looks at each account of the tier.
    fn sticky(&mut self, tier: &Tier, key: &[u8]) -> Option<Lease> {
        let key = rendezvous::hash(key);
        let mut best: Option<(u64, usize)> = None;
        let mut from = tier.start;
        while let Some(i) = self.roster.usable.next(from, tier.end) {
            from = i + 1;
            let entry = self.roster.entries.get(i)?;
            let draw = rendezvous::draw(key, entry.account.id_hash);
            if best.is_none_or(|(most, _)| draw > most)
                && self.judge(i, entry, &entry.current.load()).is_some()
            {
                best = Some((draw, i));
            }
        }
        let (_, i) = best?;
        self.take(i, self.roster.entries.get(i)?)
    }
}
