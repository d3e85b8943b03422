//! Choosing the account for a request.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    query::{Pin, Query, Unavailable},
    strategy::position,
};
use crate::{
    classify::Code,
    clock::Now,
    pool::{
        Selection,
        account::{Entry, Generation, GenerationState, Kind, Since},
        index::{Roster, Tier},
        lease::Lease,
        shared::Shared,
    },
};

/// One request's search.
pub(crate) struct Search<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) roster: &'a Roster,
    pub(crate) query: &'a Query<'a>,
    pub(crate) moment: Moment<'a>,
}

/// When the attempt will start.
pub(crate) struct Moment<'a> {
    shared: &'a Shared,
    now: &'a mut Now,
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

impl Shared {
    /// An account for an attempt that starts now.
    pub(crate) fn pick(&self, query: &Query<'_>, now: &mut Now) -> Result<Lease, Unavailable> {
        let turn = if query.is_any() { self.turn(now) } else { None };
        match turn {
            Some(lease) => Ok(lease),
            None => self.search(query, Moment { shared: self, now, later: false }),
        }
    }

    /// The account whose turn it is, where one look shows that it may serve any request: what the
    /// search would find first. Nobody needs the time for that, nor what the hints say of the others.
    #[inline(always)] // Written where it stays: what was just written is slow to move.
    #[allow(clippy::inline_always)]
    pub(crate) fn turn(&self, now: &mut Now) -> Option<Lease> {
        let roster = self.roster.load();
        if self.settings.selection != Selection::RoundRobin || roster.restricted {
            return None;
        }
        let tier = roster.tiers.first()?;
        let cursor = self.cursors.of(0);
        let mut at = position(cursor, tier);
        // Of those who rest, nothing is read.
        if !roster.usable.has(at) {
            at = self.next_turn(&roster, tier, at, now)?;
        }
        let entry = roster.entries.get(at)?;
        let generation = entry.current.load();
        let seen = generation.state();
        if seen.kind() != Kind::Usable
            || seen.has_model_cooldowns()
            || !generation.lifetime.is_fresh(|| self.passed(now.get()))
        {
            return None;
        }
        cursor.set(at as u64 + 1);
        let one_header = roster.places.is_one_header();
        let generation = arc_swap::Guard::into_inner(generation);
        Some(Lease::of_turn(generation, seen, one_header))
    }

    /// Whose turn it is instead of that of an account that rests, when nobody has come back since.
    fn next_turn(&self, roster: &Roster, tier: &Tier, at: usize, now: &mut Now) -> Option<usize> {
        let timers = self.timers.next();
        if timers != u64::MAX && timers <= self.passed(now.get()) {
            return None;
        }
        let later = roster.usable.next(at, tier.end);
        later.or_else(|| roster.usable.next(tier.start, at))
    }

    /// An account for an attempt that starts at `at`.
    pub(crate) fn pick_at(&self, query: &Query<'_>, at: Instant) -> Result<Lease, Unavailable> {
        self.search(query, Moment { shared: self, now: &mut Now::at(at), later: true })
    }

    /// Whether some account could serve this model now. Looks at all of them, and takes none.
    pub(crate) fn can_serve(&self, model: &str, now: &mut Now) -> bool {
        let query = Query { model: Some(model), ..Query::ANY };
        let roster = self.roster.load();
        let mut search = Search::new(self, &roster, &query, now);
        let mut entries = roster.entries.iter().enumerate();
        entries.any(|(at, entry)| search.judge(at, entry, &entry.current.load()).is_some())
    }

    fn search(&self, query: &Query<'_>, mut moment: Moment<'_>) -> Result<Lease, Unavailable> {
        // The clock is read only when somebody rests.
        if self.timers.next() != u64::MAX {
            self.sweep(moment.passed(), false);
        }
        let roster = self.roster.load();
        let mut search = Search { shared: self, roster: &roster, query, moment };
        if let Some(lease) = search.pinned()? {
            return Ok(lease);
        }
        if let Some(lease) = search.choose() {
            return Ok(lease);
        }
        search.final_search()
    }
}

impl<'a> Search<'a> {
    /// For an attempt that starts now.
    pub(crate) fn new(
        shared: &'a Shared,
        roster: &'a Roster,
        query: &'a Query<'a>,
        now: &'a mut Now,
    ) -> Self {
        Self { shared, roster, query, moment: Moment { shared, now, later: false } }
    }
}

impl Search<'_> {
    /// The account to which the request is tied, if it is.
    fn pinned(&mut self) -> Result<Option<Lease>, Unavailable> {
        match self.query.pin {
            None => Ok(None),
            Some(Pin::Prefer(id)) => {
                let found = self.roster.find(id);
                Ok(found.and_then(|(i, entry)| self.take(i, entry)))
            }
            Some(Pin::Strict(id)) => {
                let Some((i, entry)) = self.roster.find(id) else {
                    return Err(Code::PinUnknown.into());
                };
                match self.take(i, entry) {
                    Some(lease) => Ok(Some(lease)),
                    None => self.unavailable(std::slice::from_ref(entry)).map(Some),
                }
            }
        }
    }

    /// Nothing was found where the hints pointed: looks once at everything that is due, and says
    /// what is missing.
    fn final_search(&mut self) -> Result<Lease, Unavailable> {
        if self.shared.timers.next() != u64::MAX {
            let now = self.moment.passed();
            if self.shared.timers.next() <= now {
                self.shared.sweep(now, true);
                if let Some(lease) = self.choose() {
                    return Ok(lease);
                }
            }
        }
        self.unavailable(&self.roster.entries)
    }

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
                    self.shared.retire_expired(generation, now);
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
                    self.shared.renew(generation, now);
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
            && (strict || !self.model_cooldowns(generation, state));
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
        self.shared.check_expiry(generation, now)
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
                generation.refresh_beside_probe(now);
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
        Some(Lease::new(generation, Since { seen, probe }, tried, one_header))
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

    fn model_cooldowns(&mut self, generation: &Generation, state: GenerationState) -> bool {
        let Some(model) = self.query.model.filter(|_| state.has_model_cooldowns()) else {
            return false;
        };
        let now = self.moment.passed();
        generation.model_cooldowns(|models| models.until(model, now)).is_some()
    }
}
