//! Finding the account that serves a request.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    candidate::{Moment, Search, position},
    query::{Pin, Query, Unavailable},
};
use crate::{
    classify::Code,
    clock::Now,
    pool::{
        account::Kind,
        index::{Roster, Tier},
        lease::Lease,
        settings::Selection,
        shared::Shared,
    },
};

/// Leases an account for an attempt that starts now.
pub(crate) fn pick(
    shared: &Arc<Shared>,
    query: &Query<'_>,
    now: &mut Now,
) -> Result<Lease, Unavailable> {
    let turn = if query.is_any() { turn(shared, now) } else { None };
    match turn {
        Some(lease) => Ok(lease),
        None => search(shared, query, Moment { shared, now, later: false }),
    }
}

/// Leases the account whose turn it is, if its state shows that it may serve any request: the one that
/// the search would find first, without the clock and without the other accounts.
#[inline(always)] // Written where it stays: what was just written is slow to move.
#[allow(clippy::inline_always)]
pub(crate) fn turn(shared: &Arc<Shared>, now: &mut Now) -> Option<Lease> {
    let roster = shared.roster.load();
    if shared.settings.selection != Selection::RoundRobin || roster.restricted {
        return None;
    }
    let tier = roster.tiers.first()?;
    let cursor = shared.cursors.of(0);
    let mut at = position(cursor, tier);
    // Nothing is read of accounts that are out.
    if !roster.usable.has(at) {
        at = next_turn(shared, &roster, tier, at, now)?;
    }
    let entry = roster.entries.get(at)?;
    let generation = entry.current.load();
    let seen = generation.state();
    if seen.kind() != Kind::Usable
        || seen.has_model_cooldowns()
        || !generation.lifetime.is_fresh(|| shared.passed(now.get()))
    {
        return None;
    }
    cursor.set(at as u64 + 1);
    let one_header = roster.places.is_one_header();
    let generation = arc_swap::Guard::into_inner(generation);
    Some(Lease::of_turn(generation, seen, one_header))
}

/// Returns the next usable account instead of one that is out, if no timer is due.
fn next_turn(
    shared: &Arc<Shared>,
    roster: &Roster,
    tier: &Tier,
    at: usize,
    now: &mut Now,
) -> Option<usize> {
    let timers = shared.timers.next();
    if timers != u64::MAX && timers <= shared.passed(now.get()) {
        return None;
    }
    let later = roster.usable.next(at, tier.end);
    later.or_else(|| roster.usable.next(tier.start, at))
}

/// Returns an account for an attempt that starts at `at`.
pub(crate) fn pick_at(
    shared: &Arc<Shared>,
    query: &Query<'_>,
    at: Instant,
) -> Result<Lease, Unavailable> {
    search(shared, query, Moment { shared, now: &mut Now::at(at), later: true })
}

/// Returns whether an account could serve this model now. Looks at all of them, and leases none.
pub(crate) fn can_serve(shared: &Arc<Shared>, model: &str, now: &mut Now) -> bool {
    let query = Query { model: Some(model), ..Query::ANY };
    let roster = shared.roster.load();
    let mut search = Search::new(shared, &roster, &query, now);
    let mut entries = roster.entries.iter().enumerate();
    entries.any(|(at, entry)| search.judge(at, entry, &entry.current.load()).is_some())
}

fn search(
    shared: &Arc<Shared>,
    query: &Query<'_>,
    mut moment: Moment<'_>,
) -> Result<Lease, Unavailable> {
    // The clock is read only when an account is out.
    if shared.timers.next() != u64::MAX {
        shared.sweep(moment.passed(), false);
    }
    let roster = shared.roster.load();
    let mut search = Search { shared, roster: &roster, query, moment };
    if let Some(lease) = pinned(&mut search)? {
        return Ok(lease);
    }
    if let Some(lease) = search.choose() {
        return Ok(lease);
    }
    final_search(&mut search)
}

/// Leases the account to which the request is pinned.
fn pinned(search: &mut Search<'_>) -> Result<Option<Lease>, Unavailable> {
    match search.query.pin {
        None => Ok(None),
        Some(Pin::Prefer(id)) => {
            let found = search.roster.find(id);
            Ok(found.and_then(|(i, entry)| search.take(i, entry)))
        }
        Some(Pin::Strict(id)) => {
            let Some((i, entry)) = search.roster.find(id) else {
                return Err(Code::PinUnknown.into());
            };
            match search.take(i, entry) {
                Some(lease) => Ok(Some(lease)),
                None => search.unavailable(std::slice::from_ref(entry)).map(Some),
            }
        }
    }
}

/// Checks all accounts that are due, after the index showed none. Returns the reason if none serves.
fn final_search(search: &mut Search<'_>) -> Result<Lease, Unavailable> {
    if search.shared.timers.next() != u64::MAX {
        let now = search.moment.passed();
        if search.shared.timers.next() <= now {
            search.shared.sweep(now, true);
            if let Some(lease) = search.choose() {
                return Ok(lease);
            }
        }
    }
    search.unavailable(&search.roster.entries)
}
