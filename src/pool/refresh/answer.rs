//! Handling the answers of a source, and rejections of its credentials.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    classify::Reason,
    clock::{self, Now},
    credential::{Credential, Placement, RefreshReason, SourceError, Token},
    pool::{
        account::{
            End, Generation, GenerationState, PooledAccount, Since, lifetime::Lifetime, source,
        },
        shared::{Change, Shared},
    },
    report::{OutReason, TokenEventKind, text::foreign},
    sync::lock,
};

/// The use of a token that a source gave.
pub(crate) enum Renewed {
    /// It is in use, or another credential was put in meanwhile.
    Put,
    /// It is the current token.
    Same,
}

/// Why a token is not usable. It does not show the token.
pub(crate) struct Unusable(pub(crate) Cow<'static, str>);

/// Notes a rejection: marks the credential for a call to its source if that may help (see
/// [`renew`](super::renew)), else quarantines it.
pub(crate) fn reject(
    shared: &Shared,
    generation: &Arc<Generation>,
    since: impl Fn(GenerationState) -> Since,
    reason: Reason,
    now: u64,
) -> Option<Change> {
    let cooldowns = &shared.settings.cooldowns;
    let asks =
        generation.account.minting_source().is_some_and(|source| source.can_renew_after(reason));
    // The one before was rejected, and this one has never worked: no third.
    let hopeless = generation.lifetime.after_rejection && !generation.state().is_proven();
    if !asks || hopeless {
        let cooldown = generation.account.kept.get(now);
        return shared.change(generation, |state| {
            let out = state.rejected(since(state), reason, cooldowns, now)?;
            Some(cooldown.and_then(|cooldown| out.cooling_like(cooldown, now)).unwrap_or(out))
        });
    }
    shared
        .change(generation, |state| state.rejected_renewable(since(state), reason, cooldowns, now))
}

/// Puts in the token that a source gave for the account of `generation`.
pub(crate) fn gave_token(
    shared: &Shared,
    generation: &Arc<Generation>,
    token: &Token,
    why: RefreshReason,
    now: u64,
) -> Result<Renewed, Unusable> {
    let account = &generation.account;
    let Some(source) = account.minting_source() else { return Ok(Renewed::Put) };
    let Some(minting) = &source.minting else { return Ok(Renewed::Put) };
    let not_usable = |what: &dyn std::fmt::Display| {
        Unusable(format!("the source's token is not usable: {what}").into())
    };
    let credential = source::credential(minting, token).map_err(|error| not_usable(&error))?;
    shared
        .settings
        .sources
        .validate_token(&account.id, &credential)
        .map_err(|error| not_usable(&error))?;
    let life = source::life(Some(source), &credential, token.expires, clock::wall());
    let mut lifetime = source::lifetime(Some(source), &life, token.refresh_in, now);
    if lifetime.is_expired(now) {
        // Else the source would be called again at once, in a loop.
        return Err(not_usable(&"it has ended already"));
    }
    let mut registry = lock(&shared.registry);
    let roster = shared.roster.load_full();
    let entry = roster.position(account).and_then(|at| roster.entries.get(at));
    let current = entry.filter(|entry| Arc::ptr_eq(&entry.current.load(), generation));
    let Some(entry) = current else {
        source.flight().end(End::Overtaken, now, 0.0);
        return Ok(Renewed::Put);
    };
    let state = generation.state();
    lifetime.after_rejection = why.is_rejected() || state.was_rejected();
    if credential.is_same(&generation.credential) {
        // The same token may have a later expiry than was known.
        let extended =
            lifetime.end != u64::MAX && lifetime.end > generation.lifetime.end.saturating_add(1000);
        if lifetime.after_rejection || !extended {
            return Ok(Renewed::Same);
        }
        lifetime.extended = true;
    }
    if let Placement::Header(name, _) = &credential.place {
        if roster.places.fixed.contains_key(name) {
            return Err(not_usable(&"its header is a fixed one of an account"));
        }
    }
    let new = successor(generation, credential, lifetime);
    shared.put(&mut registry, &roster, entry, new, |was, new| carry_over(was, new, now));
    drop(registry);
    source.flight().end(End::Renewed, now, 0.0);
    shared.report_recovery();
    shared.report_skew(&entry.current.load(), life.expired_by);
    Ok(Renewed::Put)
}

/// Builds the generation that renews `generation`. The account keeps its limits, and so the cooldowns of
/// its models.
fn successor(generation: &Generation, credential: Credential, lifetime: Lifetime) -> Generation {
    let (number, account) = (generation.number + 1, Arc::clone(&generation.account));
    let mut new = Generation::new(number, credential, account, lifetime, GenerationState::NEW);
    new.set_at = generation.set_at;
    let models = generation.model_cooldowns(std::mem::take);
    new.model_cooldowns(|own| *own = models);
    new
}

/// Carries the cooldown of the account over to its renewed credential. An account that an operator has
/// taken out meanwhile stays out.
fn carry_over(was: GenerationState, new: &Generation, now: u64) {
    let kept = &new.account.kept;
    kept.keep(was);
    if let Some(cooldown) = kept.get(now) {
        new.update(|state| state.cooling_like(cooldown, now));
    }
    new.update(|state| state.retired_like(was));
}

/// Ends the wait of requests that saw a call in progress when it had just ended.
pub(crate) fn clear_asking(shared: &Shared, account: &Arc<PooledAccount>, now: u64) {
    let roster = shared.roster.load();
    let entry = roster.position(account).and_then(|at| roster.entries.get(at));
    if let Some(entry) = entry {
        let under_way = |state: GenerationState| state.not_asked(now);
        shared.change(&entry.current.load(), under_way);
    }
}

/// Retires an account without a credential because its source gives no other. Returns whether that
/// was reported, with the error of the source.
pub(super) fn retire_unrenewed(
    shared: &Shared,
    generation: &Arc<Generation>,
    reason: Reason,
    error: Option<&SourceError>,
) -> bool {
    let change = shared.change(generation, |state| state.retired_unrenewed(reason));
    let Some(change) = change.filter(|change| shared.is_incident(change)) else { return false };
    let reason = OutReason::RefreshFailed(reason);
    let mut out = shared.describe_out(generation, &change, reason, &mut Now::unread());
    out.error = error.map(|error| foreign(&error.to_string(), shared));
    shared.report_account_out(out, &change);
    true
}

/// Notes that the source gave no other credential.
pub(crate) fn gave_none(
    shared: &Shared,
    generation: &Arc<Generation>,
    error: &SourceError,
    now: u64,
) {
    let end = match error.reason() {
        Some(reason) => End::Over(reason),
        None => End::Failed(error.retry_after()),
    };
    note_failure(shared, generation, error, end, now);
}

/// Notes that the source has not answered before the deadline; the call goes on.
pub(crate) fn gave_late(
    shared: &Shared,
    generation: &Arc<Generation>,
    error: &SourceError,
    now: u64,
) {
    note_failure(shared, generation, error, End::Late, now);
}

fn note_failure(
    shared: &Shared,
    generation: &Arc<Generation>,
    error: &SourceError,
    end: End,
    now: u64,
) {
    let Some(source) = generation.account.minting_source() else { return };
    let (until, first) = source.flight().end(end, now, fastrand::f64());
    let good = generation.is_good(now);
    let report = || report_not_renewed(shared, generation, error, good, until, now);
    let Some(reason) = error.reason() else {
        if first {
            report();
        }
        settle_unrenewed(shared, generation, good, until, now);
        return generation.lifetime.check_at(until);
    };
    settle_unrenewed(shared, generation, good, until, now);
    generation.lifetime.check_at(generation.lifetime.dead);
    // One cause is one incident.
    if !retire_unrenewed(shared, generation, reason, Some(error)) && first {
        report();
    }
}

/// Continues with the current credential if it is `good`, else without one until `until`.
pub(super) fn settle_unrenewed(
    shared: &Shared,
    generation: &Generation,
    good: bool,
    until: u64,
    now: u64,
) {
    let kept = &generation.account.kept;
    shared.change(generation, |state| state.not_renewed(good, until, kept.get(now), now));
    // A cooldown may have begun in between.
    shared.restore_cooldown(generation, now);
}

fn report_not_renewed(
    shared: &Shared,
    generation: &Arc<Generation>,
    error: &SourceError,
    good: bool,
    until: u64,
    now: u64,
) {
    let left = |at: u64| Duration::from_millis(at.saturating_sub(now));
    let dead = generation.lifetime.dead;
    let valid_for = if dead == u64::MAX { Duration::MAX } else { left(dead) };
    let changed = TokenEventKind::RefreshFailed {
        error: foreign(&error.to_string(), shared),
        reason: error.reason(),
        valid_for: good.then_some(valid_for),
        next_call_in: (!error.is_terminal()).then(|| left(until)),
    };
    shared.report_token(generation, changed);
}

/// Handles a source that gave the current credential again.
pub(crate) fn gave_same(
    shared: &Shared,
    generation: &Arc<Generation>,
    token: &Token,
    why: RefreshReason,
    now: u64,
) {
    let Some(source) = generation.account.minting_source() else { return };
    if why.is_rejected() || generation.state().was_rejected() {
        source.flight().end(End::Overtaken, now, 0.0);
        if !why.is_rejected() {
            // It was rejected after the call began: the next call may give another.
            return;
        }
        let cooldowns = &shared.settings.cooldowns;
        let change = shared.change(generation, |state| state.rejection_confirmed(cooldowns, now));
        shared.restore_cooldown(generation, now);
        if let Some(change) = change {
            shared.report_rejection(
                generation,
                &change,
                generation.state().reason(),
                None,
                &mut Now::unread(),
            );
        }
    } else if !generation.is_good(now) {
        let what = "the source gives the token that has ended";
        gave_none(shared, generation, &SourceError::transient(what), now);
    } else {
        // No failure: the next token does not exist yet.
        let random = fastrand::f64();
        let (again, _) = source.flight().end(End::Same(token.refresh_in), now, random);
        settle_unrenewed(shared, generation, true, again, now);
        let wait = generation.lifetime.wait;
        generation.lifetime.check_at(if now < wait { again.min(wait) } else { again });
    }
}
