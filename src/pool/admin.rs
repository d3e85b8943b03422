//! Changes of the accounts while requests are under way.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use super::{
    account::{Entry, Generation, GenerationState, Since, millis, source},
    error::PoolError,
    index::Roster,
    shared::{MANY_SECRETS, Shared},
    validate::{check_collisions, collision},
};
use crate::{
    classify::Reason,
    clock::{self, Now},
    credential::{Account, Credential, Expires, Placement},
    sync::{Ordering, fence, lock},
};

/// What only those who change the accounts need; they hold it one at a time.
#[derive(Default)]
pub(crate) struct AdminState {
    groups: HashMap<Arc<str>, u32>,
    /// The accounts of one group ask their sources one after the other.
    turns: HashMap<u32, Arc<tokio::sync::Mutex<()>>>,
    /// What was replaced or removed lately may still stand in somebody's message.
    former: VecDeque<(u32, Credential)>,
}

/// How many former credentials are remembered, to be kept out of messages; of more accounts four for
/// each, and whatever is refreshed meanwhile, the last two of one account stay.
const FORMER: usize = 8;

impl Shared {
    pub(crate) fn insert(self: &Arc<Self>, accounts: Vec<Account>) -> Result<(), PoolError> {
        // Code of the user's, which may do whatever it likes: under no lock.
        for account in &accounts {
            self.check(account)?;
            if account.credential.is_loaded() {
                self.validate(&account.id, &account.credential)?;
            }
        }
        let mut admin = lock(&self.admin);
        let roster = self.roster.load_full();
        let mut ids = HashSet::with_capacity(accounts.len());
        for account in &accounts {
            if roster.find(&account.id).is_some() || !ids.insert(&*account.id) {
                return Err(PoolError::DuplicateId { id: (*account.id).into() });
            }
        }
        check_collisions(&roster, &accounts)?;
        let added = accounts.len();
        let now = self.passed(Now::unread().get());
        let mut entries = roster.entries.to_vec();
        let mut late = Vec::new();
        entries.extend(accounts.into_iter().map(|account| {
            let group = account.group.as_ref().map(|name| admin.group(name));
            let turn = admin.turn(group);
            let (entry, by) = Entry::new(account, next_uid(), group, turn, (self, now));
            let entry = Arc::new(entry);
            if entry.current.load().lifetime.end != u64::MAX
                && entry.account.minting_source().is_none()
            {
                self.has_expiry.store(true, Ordering::SeqCst);
            }
            late.extend(by.map(|by| (Arc::clone(&entry), by)));
            entry
        }));
        // Before they can be seen, so that none can be the last alive while it is not counted.
        self.adjust_alive(i64::try_from(added).unwrap_or(i64::MAX));
        self.publish(entries);
        // The reporter is told when no lock is held any more.
        drop(admin);
        self.watch();
        self.report_recovery();
        for (entry, by) in late {
            self.report_skew(&entry.current.load(), Some(by));
        }
        Ok(())
    }

    pub(crate) fn replace(
        self: &Arc<Self>,
        id: &str,
        credential: Credential,
        expires: Expires,
    ) -> Result<u64, PoolError> {
        self.validate(id, &credential)?;
        let mut admin = lock(&self.admin);
        let roster = self.roster.load_full();
        let Some((_, entry)) = roster.find(id) else {
            return Err(PoolError::UnknownAccount { id: id.into() });
        };
        if let Placement::Header(name, _) = &credential.place {
            if roster.places.fixed.contains_key(name) {
                return Err(collision(id, name));
            }
        }
        let now = self.passed(Now::unread().get());
        let source = entry.account.source.as_deref();
        let life = source::life(source, &credential, expires, clock::wall());
        let lifetime = source::lifetime(source, &life, None, now);
        let number = entry.current.load().number + 1;
        let account = Arc::clone(&entry.account);
        let new = Generation::new(number, credential, account, lifetime, GenerationState::NEW);
        // A new credential of a person's has no rests.
        self.put(&mut admin, &roster, entry, new, |_, _| entry.account.kept.forget());
        // A person has acted: what the source was refused for may be over.
        if let Some(source) = source {
            source.flight().forget();
        }
        drop(admin);
        if life.remaining.is_some() {
            self.has_expiry.store(true, Ordering::SeqCst);
        }
        self.watch();
        self.report_recovery();
        self.report_skew(&entry.current.load(), life.expired_by);
        Ok(number)
    }

    /// Puts another generation in the place of an account's. `hand_on` is given the last state of
    /// the old one, and the new one before it can be seen.
    pub(crate) fn put(
        &self,
        admin: &mut AdminState,
        roster: &Arc<Roster>,
        entry: &Arc<Entry>,
        new: Generation,
        carry_over: impl FnOnce(GenerationState, &Generation),
    ) {
        let known = roster.places.knows(&new.credential.place);
        let old = entry.current.load_full();
        // First no evidence about the old one counts any more, then the new one is counted, then it
        // can be seen: at each step the count is right for what requests can see.
        if let Some((was, _)) = old.update(|state| Some(state.closed())) {
            carry_over(was, &new);
            if !was.is_alive() && new.state().is_alive() {
                self.adjust_alive(1);
            }
        }
        entry.current.store(Arc::new(new));
        if known {
            self.sync_index(&entry.account);
            self.changes.fetch_add(1, Ordering::SeqCst);
        } else {
            self.publish(roster.entries.to_vec());
        }
        admin.remember_former(&old, roster.entries.len());
        self.secrets.fetch_add(1, Ordering::SeqCst);
        self.notify();
    }

    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut admin = lock(&self.admin);
        let roster = self.roster.load_full();
        let Some((at, entry)) = roster.find(id) else {
            return false;
        };
        let old = entry.current.load_full();
        let out = |state: GenerationState| Some(state.retired().unwrap_or(state).closed());
        if old.update(out).is_some_and(|(was, _)| was.is_alive()) {
            self.adjust_alive(-1);
        }
        let mut entries = roster.entries.to_vec();
        entries.remove(at);
        self.publish(entries);
        admin.remember_former(&old, roster.entries.len());
        self.secrets.fetch_add(1, Ordering::SeqCst);
        true
    }

    pub(crate) fn revive(&self, id: &str) -> bool {
        let now = self.passed(Now::unread().get());
        let there = self
            .with_current(id, |generation| {
                generation
                    .model_cooldowns(|models| *models = super::account::ModelCooldowns::default());
                generation.account.kept.forget();
                // That it has ended may be the fault of a clock; that it will, is not.
                if generation.lifetime.is_expired(now) {
                    generation.lifetime.forget();
                }
                if let Some(source) = generation.account.minting_source() {
                    source.flight().forget();
                }
                if generation.credential.is_loaded() {
                    self.change(generation, GenerationState::revived);
                } else {
                    self.change(generation, GenerationState::revived_unloaded);
                }
            })
            .is_some();
        self.report_recovery();
        there
    }

    pub(crate) fn retire(&self, id: &str) -> bool {
        self.with_current(id, |generation| self.change(generation, GenerationState::retired))
            .is_some()
    }

    pub(crate) fn invalidate(&self, id: &str, reason: Reason) -> bool {
        let mut now = Now::unread();
        let at = self.passed(now.get());
        // Its source may be asked what it can do, and do whatever it likes: under no lock.
        let Some(generation) = self.with_current(id, Arc::clone) else { return false };
        let since = |seen: GenerationState| Since { seen, probe: false };
        let Some(change) = self.reject(&generation, since, reason, at) else { return false };
        self.report_rejection(&generation, &change, reason, None, &mut now);
        self.renew(&generation, at);
        true
    }

    pub(crate) fn cool_down(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        let now = self.passed(Now::unread().get());
        let rest = millis(time).min(self.settings.cooldowns.max_rest);
        self.with_current(id, |generation| match model {
            Some(model) => {
                let grown = generation.model_cooldowns(|models| models.cool_down(model, now, rest));
                self.note_model_cooldown();
                grown
            }
            None => self.note_cooldown(generation, now, |state| state.cooled_down(now, rest)).0,
        })
        .unwrap_or(false)
    }

    /// Some model rests: nobody's answer about who can serve holds for every model any more.
    pub(crate) fn note_model_cooldown(&self) {
        self.model_cooldowns.store(1, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        for entry in &self.roster.load().entries {
            entry.current.load().credential.visit_secrets(f);
        }
        let former: Vec<_> = lock(&self.admin).former.iter().map(|(_, one)| one.clone()).collect();
        for credential in &former {
            credential.visit_secrets(f);
        }
    }

    /// Nobody has a handle any more: what is in flight ends with what it has.
    pub(crate) fn shut_down(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.expiry_check.notify_one();
        let mut admin = lock(&self.admin);
        admin.former.clear();
        // What is in flight still tells how many there were.
        let len = self.len.load(Ordering::Relaxed);
        self.publish(Vec::new());
        self.len.store(len, Ordering::Relaxed);
        self.notify_closed();
    }

    /// With the current generation of an account, which nobody replaces meanwhile.
    fn with_current<R>(&self, id: &str, f: impl FnOnce(&Arc<Generation>) -> R) -> Option<R> {
        let _writer = lock(&self.admin);
        let roster = self.roster.load();
        let (_, entry) = roster.find(id)?;
        Some(f(&entry.current.load()))
    }

    /// To be called by whoever holds the writer.
    fn publish(&self, entries: Vec<Arc<Entry>>) {
        let roster = Arc::new(Roster::new(entries, self.settings.order, self.settings.selection));
        self.restricted.store(roster.restricted, Ordering::Relaxed);
        let mints = roster.entries.iter().any(|entry| entry.account.minting_source().is_some());
        self.mints.store(mints, Ordering::Relaxed);
        self.len.store(roster.entries.len(), Ordering::Relaxed);
        self.roster.store(Arc::clone(&roster));
        fence(Ordering::SeqCst);
        roster.catch_up();
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.secrets.fetch_add(1, Ordering::SeqCst);
        // Whoever is told looks at once.
        self.notify();
    }
}

impl AdminState {
    fn group(&mut self, name: &Arc<str>) -> u32 {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        *self.groups.entry(Arc::clone(name)).or_insert(next)
    }

    fn turn(&mut self, group: Option<u32>) -> Arc<tokio::sync::Mutex<()>> {
        match group {
            Some(group) => Arc::clone(self.turns.entry(group).or_default()),
            None => Arc::default(),
        }
    }

    fn remember_former(&mut self, old: &Generation, accounts: usize) {
        // Of more accounts, messages are withheld in any case.
        let room = if accounts > MANY_SECRETS { FORMER } else { FORMER.max(4 * accounts) };
        while self.former.len() >= room {
            let mut of_each: HashMap<u32, usize> = HashMap::new();
            self.former.iter().for_each(|(uid, _)| *of_each.entry(*uid).or_default() += 1);
            let many = |(uid, _): &(u32, Credential)| of_each.get(uid).is_some_and(|n| *n > 2);
            let oldest = self.former.iter().position(many).unwrap_or(0);
            self.former.remove(oldest);
        }
        self.former.push_back((old.account.uid, old.credential.clone()));
    }
}

/// Unique in the process, and growing: the order in which accounts were listed.
fn next_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
