//! Whether one request may use one account: to serve, as a probe (one at a time), or not at all.

use std::sync::Arc;

use tokio::time::Instant;

use super::query::{Pin, Query};
use crate::{
    clock::Now,
    pool::{
        account::{Entry, Generation, GenerationState, Kind, Since},
        index::{Cursor, Roster, Tier},
        lease::Lease,
        refresh,
        shared::Shared,
    },
};

/// The search of one request for an account.
pub(crate) struct Search<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) roster: &'a Roster,
    pub(crate) query: &'a Query<'a>,
    pub(crate) moment: Moment<'a>,
}

/// The time at which the attempt will start.
pub(crate) struct Moment<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) now: &'a mut Now,
    /// It is later than now: nothing may be changed yet.
    pub(crate) later: bool,
}

impl Moment<'_> {
    pub(crate) fn instant(&mut self) -> Instant {
        self.now.get()
    }

    pub(crate) fn passed(&mut self) -> u64 {
        let at = self.now.get();
        self.shared.passed(at)
    }
}

/// The permitted use of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Serve,
    Probe,
    /// A strict pin, which ignores the account's cooldown.
    Ignore,
}

impl<'a> Search<'a> {
    /// Builds a search for an attempt that starts now.
    pub(crate) fn new(
        shared: &'a Arc<Shared>,
        roster: &'a Roster,
        query: &'a Query<'a>,
        now: &'a mut Now,
    ) -> Self {
        Self { shared, roster, query, moment: Moment { shared, now, later: false } }
    }
}

impl Search<'_> {
    /// Returns how the request may use the account, by the account's state and the query.
    ///
    /// Does not lease the account. Side effects: retires an expired credential, and starts a due call
    /// to a source.
    pub(crate) fn judge(
        &mut self,
        at: usize,
        entry: &Entry,
        generation: &Arc<Generation>,
    ) -> Option<Use> {
        let state = generation.state();
        let strict = matches!(self.query.pin, Some(Pin::Strict(_)));
        let allowed = match state.kind() {
            Kind::Usable => Use::Serve,
            Kind::Limited | Kind::Quota if self.moment.passed() >= state.until() => Use::Serve,
            Kind::Limited | Kind::Quota if strict => Use::Ignore,
            Kind::Quarantined if self.moment.passed() >= state.until() => {
                if !self.query.probes {
                    return None;
                }
                let now = self.moment.passed();
                if generation.lifetime.is_expired(now) && !self.moment.later {
                    refresh::retire_expired(self.shared, generation, now);
                    return None;
                }
                Use::Probe
            }
            // It serves whether or not another credential arrives in time.
            Kind::Expiring if self.moment.later => Use::Serve,
            // No other credential has arrived in time.
            Kind::Expiring
                if self.query.last && !generation.lifetime.is_expired(self.moment.passed()) =>
            {
                Use::Serve
            }
            _ => {
                if state.is_renewing() && !self.moment.later {
                    let now = self.moment.passed();
                    refresh::renew(self.shared, generation, now);
                }
                // The index was outdated, or `pick_at` looked at a later time.
                if self.roster.usable.has(at) {
                    self.shared.sync_index(&entry.account);
                }
                return None;
            }
        };
        let replaced = state.kind() == Kind::Expiring && self.query.last;
        if allowed != Use::Probe && !replaced && !self.is_current(generation) {
            return None;
        }
        let account = &entry.account;
        let fits = !self.query.avoids(account, generation.number)
            && account.may_serve(self.query.model)
            && (strict || !self.is_model_cooling(generation, state));
        fits.then_some(allowed)
    }

    /// Returns whether the credential has not expired; starts a due call to its source.
    fn is_current(&mut self, generation: &Arc<Generation>) -> bool {
        if generation.lifetime.is_fresh(|| self.moment.passed()) {
            return true;
        }
        let now = self.moment.passed();
        if self.moment.later {
            return !generation.lifetime.is_expired(now)
                || generation.account.minting_source().is_some();
        }
        refresh::check_expiry(self.shared, generation, now)
    }

    /// Leases the account, if the request may use it.
    pub(crate) fn take(&mut self, at: usize, entry: &Arc<Entry>) -> Option<Lease> {
        let generation = entry.current.load();
        let allowed = self.judge(at, entry, &generation)?;
        let mut probe = false;
        // Returning a probe would be a change that wakes others.
        let shown =
            self.moment.later || self.query.tentative && generation.state().has_model_cooldowns();
        let seen = match allowed {
            Use::Probe if !shown => {
                let now = self.moment.passed();
                // One request gets the probe; the others go on searching.
                let change = self.shared.change(&generation, |state| state.probed(now))?;
                probe = true;
                // The source may have another by now.
                refresh::refresh_beside_probe(self.shared, &generation, now);
                change.is
            }
            Use::Serve if !self.moment.later => self.cooldown_over(&generation),
            // A search for a later time takes neither a probe nor a turn.
            Use::Serve | Use::Ignore | Use::Probe => generation.state(),
        };
        let generation = arc_swap::Guard::into_inner(generation);
        let tried = match self.query.model {
            Some(model) if seen.has_model_cooldowns() => {
                generation.model_cooldowns(|models| models.tried(model))
            }
            _ => None,
        };
        let one_header = self.roster.places.is_one_header();
        Some(Lease::new(self.shared, generation, Since { seen, probe }, tried, one_header))
    }

    /// Ends a cooldown that is over. Returns the state after it.
    fn cooldown_over(&mut self, generation: &Generation) -> GenerationState {
        let state = generation.state();
        if !state.is_cooling() {
            return state;
        }
        let now = self.moment.passed();
        match self.shared.change(generation, |state| state.cooldown_over(now)) {
            Some(change) => change.is,
            None => generation.state(),
        }
    }

    fn is_model_cooling(&mut self, generation: &Generation, state: GenerationState) -> bool {
        let Some(model) = self.query.model.filter(|_| state.has_model_cooldowns()) else {
            return false;
        };
        let now = self.moment.passed();
        generation.model_cooldowns(|models| models.until(model, now)).is_some()
    }
}

/// Returns the position of the cursor, or the first of the tier.
pub(crate) fn position(cursor: Cursor<'_>, tier: &Tier) -> usize {
    let at = usize::try_from(cursor.get()).unwrap_or(0);
    if (tier.start..tier.end).contains(&at) { at } else { tier.start }
}
