//! The effect of an answer on the account, or on account and model: limited, out of quota, not found.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::lease::Lease;
use crate::{
    classify::Reason,
    clock::Now,
    pool::{
        account::{Generation, GenerationState, Kind, ModelCooldowns, Since, millis},
        refresh,
        shared::{Change, Shared},
    },
    report::OutReason,
    sync::Ordering,
};

impl Lease {
    /// Notes a success, and the remaining quota of the account.
    pub(crate) fn succeeded(&mut self, shared: &Shared, remaining: Option<u64>) {
        self.count_outcome(|account| &account.counts.succeeded);
        if let Some(remaining) = remaining {
            self.note_remaining(remaining);
        }
        if let Some(tried) = self.tried.take() {
            self.generation.model_cooldowns(|models| models.succeeded(&tried));
        }
        // Writes nothing once the credential is known to be good.
        let since = self.take_since();
        let strikes = &self.generation.account.strikes;
        let before = strikes.get();
        if before > 0 && self.generation.state().ends_strikes(since) {
            strikes.end(before);
        }
        change(shared, &self.generation, |state| state.succeeded(since));
    }

    /// Notes the remaining quota, as the rate-limit headers of an answer say.
    pub(crate) fn note_remaining(&self, remaining: u64) {
        self.generation.account.remaining.store(remaining, Ordering::Relaxed);
    }

    /// Notes that the upstream rejected the credential. Returns whether this rejection took the account
    /// out; one that is late, or about an older generation, does not.
    pub(crate) fn rejected(
        &mut self,
        shared: &Arc<Shared>,
        reason: Reason,
        status: Option<StatusCode>,
        now: &mut Now,
    ) -> bool {
        self.count_outcome(|account| &account.counts.rejected);
        let mut since = self.take_since();
        if let Some(extended) = extended(shared, &self.generation) {
            since = Since { seen: extended.state(), probe: false };
            self.generation = extended;
        }
        let at = shared.passed(now.get());
        let change = refresh::reject(shared, &self.generation, |_| since, reason, at);
        let Some(change) = change else { return false };
        shared.report_rejection(&self.generation, &change, reason, status, now);
        refresh::renew(shared, &self.generation, at);
        change.is_loss()
    }

    /// Notes a limit: of the model when it is known, else of the account.
    pub(crate) fn limited(
        &mut self,
        shared: &Shared,
        model: Option<&str>,
        delay: Option<Duration>,
        now: &mut Now,
    ) {
        self.count_outcome(|account| &account.counts.limited);
        let (generation, since) = &self.limited_generation(shared);
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let delay = delay.map(millis);
        match model {
            Some(model) => {
                change_models(shared, generation, |models| {
                    models.limited(model, delay, cooldowns, at)
                });
                change(shared, generation, |state| state.probe_healthy(*since));
            }
            None => limit_account(shared, generation, *since, delay, at),
        }
    }

    /// Returns the generation that a limit counts for: the renewal of the lease's own, if there is one.
    fn limited_generation(&mut self, shared: &Shared) -> (Arc<Generation>, Since) {
        let since = self.take_since();
        match renewal(shared, &self.generation) {
            Some(renewal) => {
                let since = Since { seen: renewal.state(), probe: false };
                (renewal, since)
            }
            None => (Arc::clone(&self.generation), since),
        }
    }

    /// Notes that the account has no quota left.
    pub(crate) fn out_of_quota(
        &mut self,
        shared: &Shared,
        delay: Option<Duration>,
        status: Option<StatusCode>,
        now: &mut Now,
    ) {
        self.count_outcome(|account| &account.counts.limited);
        let (generation, since) = &self.limited_generation(shared);
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let (_, change) = note_cooldown(shared, generation, at, |state| {
            state.out_of_quota(*since, delay.map(millis), cooldowns, at)
        });
        if let Some(change) = change {
            // One incident for each cooldown, however often it grows.
            let within = change.was.kind() == Kind::Quota && change.was.until() > at;
            if change.is.kind() == Kind::Quota && !within {
                shared.report_out(generation, &change, OutReason::OutOfQuota, status, now);
            }
        }
    }

    /// Notes that the account does not have the model.
    pub(crate) fn model_missing(
        &mut self,
        shared: &Shared,
        model: &str,
        delay: Option<Duration>,
        now: &mut Now,
    ) {
        let (at, cooldowns) = (shared.passed(now.get()), &shared.settings.cooldowns);
        let cooldown = delay.map_or(cooldowns.model, millis).min(cooldowns.max_rest);
        change_models(shared, &self.generation, |models| models.cool_down(model, at, cooldown));
        self.healthy_failure(shared);
    }

    /// Notes a failure that shows the credential to be good.
    pub(crate) fn healthy_failure(&mut self, shared: &Shared) {
        self.count_outcome(|account| &account.counts.other);
        let since = self.take_since();
        change(shared, &self.generation, |state| state.probe_healthy(since));
    }

    /// Notes an outcome that shows nothing about the credential; a probe is returned.
    pub(crate) fn inconclusive(&mut self) {
        self.count_outcome(|account| &account.counts.other);
        if let Some(shared) = self.probe.clone() {
            let since = self.take_since();
            change(&shared, &self.generation, |state| state.probe_returned(since));
        }
    }
}

/// Changes the state of a generation, and reports the recovery of a pool that was dead.
fn change(
    shared: &Shared,
    generation: &Arc<Generation>,
    f: impl Fn(GenerationState) -> Option<GenerationState>,
) -> Option<Change> {
    let change = shared.change(generation, f)?;
    shared.report_recovery();
    Some(change)
}

/// Notes a limit of the account, and counts it if it has no `delay` and the cooldown grew.
fn limit_account(
    shared: &Shared,
    generation: &Arc<Generation>,
    since: Since,
    delay: Option<u64>,
    now: u64,
) {
    let cooldowns = &shared.settings.cooldowns;
    let strikes = &generation.account.strikes;
    let before = strikes.get();
    let (noted, change) = note_cooldown(shared, generation, now, |state| {
        state.limited(since, delay, before, cooldowns, now)
    });
    // A change that only ends a probe is no growth.
    let grew = change.map_or(noted, |change| change.is.until() > change.was.until());
    if delay.is_none() && grew {
        strikes.add();
    }
}

/// Notes a cooldown of the account, and reports the recovery of a pool that was dead.
fn note_cooldown(
    shared: &Shared,
    generation: &Arc<Generation>,
    now: u64,
    f: impl Fn(GenerationState) -> Option<GenerationState>,
) -> (bool, Option<Change>) {
    let (noted, change) = shared.note_cooldown(generation, now, f);
    if change.is_some() {
        shared.report_recovery();
    }
    (noted, change)
}

/// Notes a cooldown of a model for the account.
fn change_models(
    shared: &Shared,
    generation: &Arc<Generation>,
    f: impl FnOnce(&mut ModelCooldowns) -> bool,
) {
    if generation.model_cooldowns(f) {
        shared.note_model_cooldown();
    }
}

/// Returns the generation that is current, if it is a renewal of `generation` by the account's source.
///
/// A limit is the account's, so that it counts for the renewal as well; a credential that an operator
/// put in starts without the limits of the one before.
fn renewal(shared: &Shared, generation: &Generation) -> Option<Arc<Generation>> {
    let current = replacement(shared, generation)?;
    (generation.number >= current.set_at).then_some(current)
}

/// Returns the generation that replaced `generation` with the same secret and a later expiry: what is
/// learned of the one is true of the other.
fn extended(shared: &Shared, generation: &Generation) -> Option<Arc<Generation>> {
    let current = replacement(shared, generation)?;
    let same = || current.credential.is_same(&generation.credential);
    (current.lifetime.extended && same()).then_some(current)
}

/// Returns the current generation of the account if `generation` was replaced.
fn replacement(shared: &Shared, generation: &Generation) -> Option<Arc<Generation>> {
    if !generation.state().is_closed() {
        return None;
    }
    let roster = shared.roster.load();
    let entry = roster.position(&generation.account).and_then(|at| roster.entries.get(at))?;
    Some(entry.current.load_full())
}
