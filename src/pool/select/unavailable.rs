//! The reason why no account can serve.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{candidate::Search, query::Unavailable};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    pool::{
        account::{Entry, Generation, Kind},
        lease::Lease,
        shared::{NoAccount, Shared},
    },
    sync::Ordering,
};

/// The result of a look at some accounts.
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
#[derive(Default)]
struct Found {
    /// The soonest end of a cooldown.
    soonest: Option<u64>,
    /// An account is limited, not out of quota.
    limited: bool,
    /// An account cools.
    cooldowns: bool,
    /// A call to a source is due or in progress.
    renewed: bool,
    /// A source is being called.
    under_way: bool,
    /// The rejected accounts, by reason.
    rejected: [Rejected; 6],
    /// An account that can serve after all.
    hidden: Option<Lease>,
}

/// The accounts that were rejected for one reason.
#[derive(Clone, Copy, Default)]
struct Rejected {
    count: u32,
    reason: Option<Reason>,
    /// Whether the source of one of them may give another credential.
    mints: bool,
    /// When the last of their credentials expired, in seconds since 1970.
    ended: Option<u64>,
}

impl Search<'_> {
    /// Returns why none of `entries` can serve.
    ///
    /// 1. While an account cools: out of quota if all of them are, else limited, with the soonest end.
    /// 2. While a source is called: not ready.
    /// 3. Else the most common reason of those that were rejected or retired.
    /// 4. Else no account of the pool could ever serve such a request.
    ///
    /// The answer about all accounts is kept until any state changes: a dead pool of 100,000
    /// accounts answers as fast as one of two.
    ///
    /// An account that was hidden for an instant, or has just come back, is found and leased here.
    pub(crate) fn unavailable(&mut self, entries: &[Arc<Entry>]) -> Result<Lease, Unavailable> {
        // The answer holds for all requests only when no model makes a difference.
        let same_for_all = entries.len() == self.roster.entries.len()
            && (self.query.model.is_none()
                || !self.roster.restricted && !self.roster.has_model_cooldowns());
        // Ordering 3 of `Shared`: pairs with `fetch_add` after a change of a state.
        let changes = self.shared.changes.load(Ordering::SeqCst);
        if same_for_all && !self.takes_replaced() {
            if let Some(kept) = &*self.shared.unavailable.load() {
                let mut over = || kept.until.is_some_and(|until| self.moment.passed() >= until);
                if kept.changes == changes && !over() {
                    return Err(self.answer(kept));
                }
            }
        }
        let mut found = self.find(entries);
        // An account that came back and went while it was looked at is not an empty pool.
        if found.code().0 == Code::PoolEmpty
            && self.shared.changes.load(Ordering::SeqCst) != changes
        {
            found = self.find(entries);
        }
        if let Some(lease) = found.hidden {
            return Ok(lease);
        }
        // The length of a call to a source is unknown.
        let until = found.soonest.filter(|_| !found.under_way);
        let (code, rejected) = found.code();
        let (ended, mints) =
            (rejected.ended.filter(|_| code == Code::CredentialExpired), rejected.mints);
        let none = NoAccount { changes, code, until, ended, mints };
        let answer = self.answer(&none);
        // A cooldown that will be over at a later moment is not over now.
        if same_for_all && !self.moment.later {
            self.shared.unavailable.store(Some(Arc::new(none)));
        }
        Err(answer)
    }

    /// Returns whether a credential that is being replaced will do: the index does not show those.
    fn takes_replaced(&self) -> bool {
        self.query.last || self.moment.later && self.roster.mints
    }

    fn answer(&mut self, none: &NoAccount) -> Unavailable {
        let retry_after = none.until.map(|until| {
            let now = self.moment.instant();
            self.shared.remaining(until, now)
        });
        let expired_at = none.ended.and_then(time);
        Unavailable { code: none.code, retry_after, expired_at, can_mint: none.mints }
    }

    fn find(&mut self, entries: &[Arc<Entry>]) -> Found {
        let mut found = Found::default();
        for entry in entries {
            if !entry.account.may_serve(self.query.model) {
                continue;
            }
            let generation = entry.current.load();
            let state = generation.state();
            match state.kind() {
                Kind::Quarantined | Kind::Probing | Kind::Retired => {
                    let now = || self.moment.passed();
                    found.rejected(state.reason(), &generation, now);
                }
                Kind::Expiring if self.takes_replaced() && found.serves(self, entry) => break,
                Kind::Expiring | Kind::Absent => {
                    found.renewed = true;
                    found.under_way |= state.is_under_way();
                    if !state.is_under_way() {
                        found.cools_until(state.until());
                    }
                }
                kind => {
                    let mut cooldown = None;
                    if state.is_cooling() && state.until() > self.moment.passed() {
                        cooldown = Some(state.until());
                        found.limited |= kind == Kind::Limited;
                    }
                    if let Some(model) = self.query.model.filter(|_| state.has_model_cooldowns()) {
                        let now = self.moment.passed();
                        let until = generation.model_cooldowns(|models| models.until(model, now));
                        found.limited |= until.is_some();
                        cooldown = cooldown.max(until);
                    }
                    match cooldown {
                        Some(until) => {
                            found.cooldowns = true;
                            found.cools_until(until);
                        }
                        // It could not serve a moment ago: the index was outdated, or a probe or a
                        // call to a source has ended since.
                        None if found.serves(self, entry) => break,
                        None => {}
                    }
                }
            }
        }
        found
    }
}

impl Found {
    /// Leases an account that the search has not found, if it may serve.
    fn serves(&mut self, search: &mut Search<'_>, entry: &Arc<Entry>) -> bool {
        let at = search.roster.position(&entry.account);
        self.hidden = at.and_then(|at| search.take(at, entry));
        self.hidden.is_some()
    }

    fn cools_until(&mut self, until: u64) {
        self.soonest = Some(self.soonest.map_or(until, |soonest| soonest.min(until)));
    }

    fn rejected(&mut self, reason: Reason, generation: &Generation, now: impl FnOnce() -> u64) {
        let same = |one: &&mut Rejected| one.reason.is_none_or(|r| r == reason);
        if let Some(one) = self.rejected.iter_mut().find(same) {
            one.count += 1;
            one.reason = Some(reason);
            one.mints = one.mints || generation.account.can_renew_after(reason);
            if reason == Reason::Expired {
                one.ended = one.ended.max(ended(generation, now));
            }
        }
    }

    /// Returns the code, and the accounts that were rejected for it.
    fn code(&self) -> (Code, Rejected) {
        if self.under_way || self.renewed && !self.cooldowns {
            return (Code::NotReady, Rejected::default());
        }
        if self.cooldowns {
            let code = if self.limited { Code::PoolLimited } else { Code::OutOfQuota };
            return (code, Rejected::default());
        }
        // The first among equals, which `max_by_key` would not give.
        let mut most = Rejected::default();
        for one in self.rejected {
            if one.count > most.count {
                most = one;
            }
        }
        (most.reason.map_or(Code::PoolEmpty, Code::from), most)
    }
}

/// Returns the answer for this account if its credential was rejected for `reason`.
pub(crate) fn rejection(
    shared: &Shared,
    id: &str,
    uid: u32,
    number: u64,
    reason: Reason,
) -> Unavailable {
    let mut none = Unavailable::from(Code::from(reason));
    let roster = shared.roster.load();
    let entry = roster.find(id).map(|(_, entry)| entry).filter(|entry| entry.account.uid == uid);
    let Some(entry) = entry else { return none };
    let generation = entry.current.load();
    none.can_mint = generation.account.can_renew_after(reason);
    if reason == Reason::Expired && generation.number == number {
        let ended = ended(&generation, || shared.passed(Now::unread().get()));
        none.expired_at = ended.and_then(time);
    }
    none
}

/// Returns when the credential expired, in whole seconds since 1970, if it has, and that is known.
fn ended(generation: &Generation, now: impl FnOnce() -> u64) -> Option<u64> {
    let (at, _) = generation.lifetime.ended(now)?;
    at.duration_since(UNIX_EPOCH).ok().map(|at| at.as_secs())
}

fn time(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
