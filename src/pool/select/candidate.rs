//! What one request may do with one account.

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

/// One request's search.
pub(crate) struct Search<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) roster: &'a Roster,
    pub(crate) query: &'a Query<'a>,
    pub(crate) moment: Moment<'a>,
}

/// When the attempt will start.
pub(crate) struct Moment<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) now: &'a mut Now,
    /// It is not now: nothing may be changed yet.
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

/// What a request may do with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Serve,
    Probe,
    /// It must not wait for the account's rest.
    Ignore,
}

impl<'a> Search<'a> {
    /// For an attempt that starts now.
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
    /// What the request may do with the account, by its state and by its own wishes. Takes nothing;
    /// but what has ended is retired, and a source is asked where it is time to.
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
            // Whether or not another comes in time.
            Kind::Expiring if self.moment.later => Use::Serve,
            // It has not come in time.
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
                // The hint was wrong, or a rest was looked forward to by `pick_at`.
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

    /// Whether its end does not keep it from being sent. Its source is asked, where it is time to.
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

    /// The account for this request, if it may have it.
    pub(crate) fn take(&mut self, at: usize, entry: &Arc<Entry>) -> Option<Lease> {
        let generation = entry.current.load();
        let allowed = self.judge(at, entry, &generation)?;
        let mut probe = false;
        // To give a probe back is a change that others are told of.
        let shown =
            self.moment.later || self.query.tentative && generation.state().has_model_cooldowns();
        let seen = match allowed {
            Use::Probe if !shown => {
                let now = self.moment.passed();
                // Exactly one wins; the others go on looking.
                let change = self.shared.change(&generation, |state| state.probed(now))?;
                probe = true;
                // There may be another by now.
                refresh::refresh_beside_probe(self.shared, &generation, now);
                change.is
            }
            Use::Serve if !self.moment.later => self.cooldown_over(&generation),
            // Looking ahead takes no probe, no more than a turn.
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

    /// The state once a rest that is over has been taken off.
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

/// Where the cursor points, or where the tier begins.
pub(crate) fn position(cursor: Cursor<'_>, tier: &Tier) -> usize {
    let at = usize::try_from(cursor.get()).unwrap_or(0);
    if (tier.start..tier.end).contains(&at) { at } else { tier.start }
}
