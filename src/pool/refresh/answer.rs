//! Putting in what a source gave, and what follows a refusal.

use std::{sync::Arc, time::Duration};

use super::task::{Renewed, Unusable};
use crate::{
    classify::Reason,
    clock,
    credential::{Credential, Placement, RefreshReason, Token},
    pool::{
        PoolError,
        account::{End, Generation, GenerationState, Since, source},
        shared::{Change, Shared},
    },
    report::TokenEventKind,
    sync::{Ordering, lock},
};

impl Shared {
    /// The credential was refused: its source is to be asked for another if that may help
    /// ([`renew`](Self::renew)), else it is quarantined.
    pub(crate) fn reject(
        &self,
        generation: &Arc<Generation>,
        since: impl Fn(GenerationState) -> Since,
        reason: Reason,
        now: u64,
    ) -> Option<Change> {
        let cooldowns = &self.settings.cooldowns;
        let asks = generation
            .account
            .minting_source()
            .is_some_and(|source| source.can_renew_after(reason));
        // One that was made because the one before was refused, and never worked: no third.
        let hopeless = generation.lifetime.after_rejection && !generation.state().is_proven();
        if !asks || hopeless {
            let rest = generation.account.kept.get(now);
            return self.change(generation, |state| {
                let out = state.rejected(since(state), reason, cooldowns, now)?;
                Some(rest.and_then(|rest| out.cooling_like(rest, now)).unwrap_or(out))
            });
        }
        self.change(generation, |state| {
            state.rejected_renewable(since(state), reason, cooldowns, now)
        })
    }

    /// What has taken the place of a credential and is the same, said to be good for longer: what is
    /// learned of the one is true of the other.
    pub(crate) fn extended(&self, generation: &Generation) -> Option<Arc<Generation>> {
        if !generation.state().is_closed() {
            return None;
        }
        let roster = self.roster.load();
        let entry = roster.position(&generation.account).and_then(|at| roster.entries.get(at))?;
        let current = entry.current.load_full();
        let same = || current.credential.is_same(&generation.credential);
        (current.lifetime.extended && same()).then_some(current)
    }

    /// Puts in what a source gave because of `generation`.
    pub(crate) fn gave_token(
        &self,
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
        let credential = minting.credential(token).map_err(|error| not_usable(&error))?;
        self.validate(&account.id, &credential).map_err(|error| not_usable(&error))?;
        let life = source::life(Some(source), &credential, token.expires, clock::wall());
        let mut lifetime = source::lifetime(Some(source), &life, token.refresh_in, now);
        if lifetime.is_expired(now) {
            // Else the source would be asked again at once, and so on.
            return Err(not_usable(&"it has ended already"));
        }
        let mut admin = lock(&self.admin);
        let roster = self.roster.load_full();
        let entry = roster.position(account).and_then(|at| roster.entries.get(at));
        let current = entry.filter(|entry| Arc::ptr_eq(&entry.current.load(), generation));
        let Some(entry) = current else {
            source.flight().end(End::Overtaken, now, 0.0);
            return Ok(Renewed::Put);
        };
        let state = generation.state();
        lifetime.after_rejection = why.is_rejected() || state.was_rejected();
        if credential.is_same(&generation.credential) {
            // The same one may be said to be good for longer than was known.
            let extended = lifetime.end != u64::MAX
                && lifetime.end > generation.lifetime.end.saturating_add(1000);
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
        let (number, account) = (generation.number + 1, Arc::clone(account));
        let new = Generation::new(number, credential, account, lifetime, GenerationState::NEW);
        // A new token has the rests of its account, as it has the account's limits.
        let models = generation.model_cooldowns(std::mem::take);
        new.model_cooldowns(|own| *own = models);
        self.put(&mut admin, &roster, entry, new, |was, new| {
            let kept = &new.account.kept;
            kept.keep(was);
            if let Some(rest) = kept.get(now) {
                new.update(|state| state.cooling_like(rest, now));
            }
            // A person has taken the account out meanwhile: it has the token for when it is back.
            new.update(|state| state.retired_like(was));
        });
        drop(admin);
        source.flight().end(End::Renewed, now, 0.0);
        self.report_recovery();
        self.report_skew(&entry.current.load(), life.expired_by);
        Ok(Renewed::Put)
    }

    /// Tells, once, that a credential had ended before it came in.
    pub(crate) fn report_skew(&self, generation: &Generation, late: Option<Duration>) {
        let Some(late) = late else { return };
        if !self.skew_reported.swap(true, Ordering::SeqCst) {
            self.report_token(generation, TokenEventKind::ClockSkew { late });
        }
    }

    /// Whether a credential has the form that the user wants.
    pub(crate) fn validate(&self, id: &str, credential: &Credential) -> Result<(), PoolError> {
        let Some(validate) = &self.settings.sources.validate else { return Ok(()) };
        let token = std::str::from_utf8(credential.token()).unwrap_or_default();
        validate(id, token).map_err(|fault| PoolError::Format { id: id.into(), fault })
    }
}
