//! Putting in what a source gave, and what follows a refusal.

use std::{sync::Arc, time::Duration};

use super::task::{Renewed, Unusable};
use crate::{
    classify::Reason,
    clock,
    credential::{Credential, Placement, RefreshReason, Token},
    pool::{
        PoolError,
        account::{End, Generation, Since, Word, source},
        shared::{Change, Shared},
    },
    report::TokenEventKind,
    sync::{Ordering, lock},
};

impl Shared {
    /// The credential was refused: its source is to be asked for another if that may help
    /// ([`renew`](Self::renew)), else it is quarantined.
    pub(crate) fn refuse(
        &self,
        generation: &Arc<Generation>,
        since: impl Fn(Word) -> Since,
        reason: Reason,
        now: u64,
    ) -> Option<Change> {
        let rests = &self.settings.rests;
        let asks = generation.member.asking().is_some_and(|feed| feed.can_renew_after(reason));
        // One that was made because the one before was refused, and never worked: no third.
        let hopeless = generation.ages.forced && !generation.word().ever_succeeded();
        if !asks || hopeless {
            let rest = generation.member.kept.get(now);
            return self.change(generation, |word| {
                let out = word.refused(since(word), reason, rests, now)?;
                Some(rest.and_then(|rest| out.at_rest(rest, now)).unwrap_or(out))
            });
        }
        self.change(generation, |word| word.spent(since(word), reason, rests, now))
    }

    /// What has taken the place of a credential and is the same, said to be good for longer: what is
    /// learned of the one is true of the other.
    pub(crate) fn longer(&self, generation: &Generation) -> Option<Arc<Generation>> {
        if !generation.word().is_closed() {
            return None;
        }
        let roster = self.roster.load();
        let slot = roster.position(&generation.member).and_then(|at| roster.slots.get(at))?;
        let current = slot.current.load_full();
        let same = || current.credential.is_same(&generation.credential);
        (current.ages.longer && same()).then_some(current)
    }

    /// Puts in what a source gave because of `generation`.
    pub(crate) fn renewed(
        &self,
        generation: &Arc<Generation>,
        token: &Token,
        why: RefreshReason,
        now: u64,
    ) -> Result<Renewed, Unusable> {
        let member = &generation.member;
        let Some(feed) = member.asking() else { return Ok(Renewed::Put) };
        let Some(minting) = &feed.minting else { return Ok(Renewed::Put) };
        let not_usable = |what: &dyn std::fmt::Display| {
            Unusable(format!("the source's token is not usable: {what}").into())
        };
        let credential = minting.credential(token).map_err(|error| not_usable(&error))?;
        self.validate(&member.id, &credential).map_err(|error| not_usable(&error))?;
        let life = source::life(Some(feed), &credential, token.expires, clock::wall());
        let mut ages = source::ages(Some(feed), &life, token.refresh_in, now);
        if ages.is_dead(now) {
            // Else the source would be asked again at once, and so on.
            return Err(not_usable(&"it has ended already"));
        }
        let mut writer = lock(&self.writer);
        let roster = self.roster.load_full();
        let slot = roster.position(member).and_then(|at| roster.slots.get(at));
        let current = slot.filter(|slot| Arc::ptr_eq(&slot.current.load(), generation));
        let Some(slot) = current else {
            feed.flight().end(End::Overtaken, now, 0.0);
            return Ok(Renewed::Put);
        };
        let word = generation.word();
        ages.forced = why.is_rejected() || word.was_refused();
        if credential.is_same(&generation.credential) {
            // The same one may be said to be good for longer than was known.
            let longer =
                ages.end != u64::MAX && ages.end > generation.ages.end.saturating_add(1000);
            if ages.forced || !longer {
                return Ok(Renewed::Same);
            }
            ages.longer = true;
        }
        if let Placement::Header(name, _) = &credential.place {
            if roster.places.fixed.contains_key(name) {
                return Err(not_usable(&"its header is a fixed one of an account"));
            }
        }
        let (number, member) = (generation.number + 1, Arc::clone(member));
        let new = Generation::new(number, credential, member, ages, Word::FRESH);
        // A new token has the rests of its account, as it has the account's limits.
        let models = generation.models(std::mem::take);
        new.models(|own| *own = models);
        self.put(&mut writer, &roster, slot, new, |was, new| {
            let kept = &new.member.kept;
            kept.keep(was);
            if let Some(rest) = kept.get(now) {
                new.update(|word| word.at_rest(rest, now));
            }
            // A person has taken the account out meanwhile: it has the token for when it is back.
            new.update(|word| word.out_like(was));
        });
        drop(writer);
        feed.flight().end(End::Renewed, now, 0.0);
        self.note_health();
        self.note_skew(&slot.current.load(), life.expired_by);
        Ok(Renewed::Put)
    }

    /// Tells, once, that a credential had ended before it came in.
    pub(crate) fn note_skew(&self, generation: &Generation, late: Option<Duration>) {
        let Some(late) = late else { return };
        if !self.skewed.swap(true, Ordering::SeqCst) {
            self.tell_token(generation, TokenEventKind::ClockSkew { late });
        }
    }

    /// Whether a credential has the form that the user wants.
    pub(crate) fn validate(&self, id: &str, credential: &Credential) -> Result<(), PoolError> {
        let Some(validate) = &self.settings.sources.validate else { return Ok(()) };
        let token = std::str::from_utf8(credential.token()).unwrap_or_default();
        validate(id, token).map_err(|fault| PoolError::Format { id: id.into(), fault })
    }
}
