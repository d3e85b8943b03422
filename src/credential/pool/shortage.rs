//! What to say when nobody can serve.

use std::sync::Arc;

use super::{
    pick::Search, picked::Picked, slot::Slot, sync::Ordering, want::Unavailable, word::Kind,
};
use crate::classify::{Code, Reason};

/// What a look at some accounts has found.
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
#[derive(Default)]
struct Found {
    /// The soonest end of a rest.
    soonest: Option<u64>,
    /// A rest that is not for want of quota.
    limited: bool,
    /// Any rest at all.
    rests: bool,
    /// A source is asked, or will be.
    renewed: bool,
    /// A source is being asked.
    under_way: bool,
    /// How many were refused for each reason, with the first of them.
    refused: [(u32, Option<Reason>); 6],
    /// One that can serve after all.
    hidden: Option<Picked>,
}

impl Search<'_> {
    /// Why none of `slots` can serve.
    ///
    /// 1. While one rests, it is that, with the soonest end: out of quota when all of them are, else
    ///    limited.
    /// 2. While a source is asked, it is that.
    /// 3. Else the most common reason of those that were refused or retired.
    /// 4. Else no account of the pool could ever serve such a request.
    ///
    /// The answer about all accounts is kept until any state changes: a dead pool of 100,000
    /// accounts answers as fast as one of two.
    ///
    /// An account that the hints have hidden for an instant is found here, and given.
    pub(super) fn shortage(&mut self, slots: &[Arc<Slot>]) -> Result<Picked, Unavailable> {
        // The answer is about all requests alike only when no model makes a difference.
        let same_for_all = slots.len() == self.roster.slots.len()
            && (self.want.model.is_none()
                || !self.roster.restricted && self.hub.model_rests.load(Ordering::SeqCst) == 0);
        let changes = self.hub.changes.load(Ordering::SeqCst);
        if same_for_all {
            if let Some(kept) = Kept::read(self.hub.shortage.load(Ordering::Acquire), changes) {
                let over = kept.until.is_some_and(|until| self.moment.passed() >= until);
                if !over {
                    return Err(self.answer(kept));
                }
            }
        }
        let found = self.find(slots);
        if let Some(picked) = found.hidden {
            return Ok(picked);
        }
        // Who waits for a source does not know for how long.
        let until = found.soonest.filter(|_| !found.under_way);
        let kept = Kept { code: found.code(), until };
        // What will be over by then is not over for those who ask about now.
        if same_for_all && !self.moment.later {
            self.hub.shortage.store(kept.bits(changes), Ordering::Release);
        }
        Err(self.answer(kept))
    }

    fn answer(&mut self, kept: Kept) -> Unavailable {
        let retry_after = kept.until.map(|until| {
            let now = self.moment.instant();
            self.hub.remaining(until, now)
        });
        let expired = kept.code == Code::CredentialExpired;
        Unavailable {
            code: kept.code,
            retry_after,
            expired_at: if expired { self.hub.expired_at() } else { None },
            can_mint: self.hub.mints.load(Ordering::Relaxed),
        }
    }

    fn find(&mut self, slots: &[Arc<Slot>]) -> Found {
        let mut found = Found::default();
        for slot in slots {
            if !slot.member.may_serve(self.want.model) {
                continue;
            }
            let generation = slot.current.load();
            let word = generation.word();
            match word.kind() {
                Kind::Quarantined | Kind::Probing | Kind::Retired => found.refused(word.reason()),
                Kind::Expiring | Kind::Absent => {
                    found.renewed = true;
                    found.under_way |= word.is_under_way();
                    if !word.is_under_way() {
                        found.rests_until(word.until());
                    }
                }
                kind => {
                    let mut rest = None;
                    if word.is_resting() && word.until() > self.moment.passed() {
                        rest = Some(word.until());
                        found.limited |= kind == Kind::Limited;
                    }
                    if let Some(model) = self.want.model.filter(|_| word.has_model_rests()) {
                        let now = self.moment.passed();
                        let until = generation.models(|models| models.until(model, now));
                        found.limited |= until.is_some();
                        rest = rest.max(until);
                    }
                    match (rest, self.roster.position(&slot.member)) {
                        (Some(until), _) => {
                            found.rests = true;
                            found.rests_until(until);
                        }
                        (None, Some(i)) if !self.roster.usable.has(i) => {
                            found.hidden = self.take(i, slot);
                            if found.hidden.is_some() {
                                break;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        found
    }
}

impl Found {
    fn rests_until(&mut self, until: u64) {
        self.soonest = Some(self.soonest.map_or(until, |soonest| soonest.min(until)));
    }

    fn refused(&mut self, reason: Reason) {
        let same = |slot: &&mut (u32, Option<Reason>)| slot.1.is_none_or(|r| r == reason);
        if let Some((count, slot)) = self.refused.iter_mut().find(same) {
            *count += 1;
            *slot = Some(reason);
        }
    }

    fn code(&self) -> Code {
        if self.under_way || self.renewed && !self.rests {
            return Code::NotReady;
        }
        if self.rests {
            return if self.limited { Code::PoolLimited } else { Code::OutOfQuota };
        }
        // The first among equals, which `max_by_key` would not give.
        let mut most: (u32, Option<Reason>) = (0, None);
        for one in self.refused {
            if one.0 > most.0 {
                most = one;
            }
        }
        most.1.map_or(Code::PoolEmpty, Code::from)
    }
}

/// An answer as it is kept: 20 bits of the number of changes that it knows of, 4 of code, 39 of time.
#[derive(Clone, Copy)]
struct Kept {
    code: Code,
    until: Option<u64>,
}

const CODES: [Code; 10] = [
    Code::NotReady,
    Code::PoolEmpty,
    Code::PoolLimited,
    Code::OutOfQuota,
    Code::CredentialMissing,
    Code::CredentialExpired,
    Code::CredentialInvalid,
    Code::CredentialRevoked,
    Code::CredentialInactive,
    Code::InsufficientScope,
];
const CHANGES: u64 = (1 << 20) - 1;
const NO_TIME: u64 = (1 << 39) - 1;

impl Kept {
    fn bits(self, changes: u64) -> u64 {
        let code = CODES.iter().position(|code| *code == self.code).unwrap_or(1) as u64;
        let until = self.until.unwrap_or(NO_TIME).min(NO_TIME);
        // Never 0, which says that nothing is kept.
        1 << 63 | (changes & CHANGES) << 43 | code << 39 | until
    }

    fn read(bits: u64, changes: u64) -> Option<Self> {
        if bits == 0 || (bits >> 43) & CHANGES != changes & CHANGES {
            return None;
        }
        let code = usize::try_from((bits >> 39) & 15).ok()?;
        let until = bits & NO_TIME;
        Some(Self { code: *CODES.get(code)?, until: (until != NO_TIME).then_some(until) })
    }
}
