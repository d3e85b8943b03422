//! Changes of the accounts while requests are under way.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use super::{
    account::{Generation, Since, Slot, Word, millis, source},
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
pub(crate) struct Writer {
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
        let mut writer = lock(&self.writer);
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
        let mut slots = roster.slots.to_vec();
        let mut late = Vec::new();
        slots.extend(accounts.into_iter().map(|account| {
            let group = account.group.as_ref().map(|name| writer.group(name));
            let turn = writer.turn(group);
            let (slot, by) = Slot::new(account, next_uid(), group, turn, (self, now));
            let slot = Arc::new(slot);
            if slot.current.load().ages.end != u64::MAX && slot.member.asking().is_none() {
                self.ending.store(true, Ordering::SeqCst);
            }
            late.extend(by.map(|by| (Arc::clone(&slot), by)));
            slot
        }));
        // Before they can be seen, so that none can be the last alive while it is not counted.
        self.add_alive(i64::try_from(added).unwrap_or(i64::MAX));
        self.publish(slots);
        // The reporter is told when no lock is held any more.
        drop(writer);
        self.watch();
        self.note_health();
        for (slot, by) in late {
            self.note_skew(&slot.current.load(), Some(by));
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
        let mut writer = lock(&self.writer);
        let roster = self.roster.load_full();
        let Some((_, slot)) = roster.find(id) else {
            return Err(PoolError::UnknownAccount { id: id.into() });
        };
        if let Placement::Header(name, _) = &credential.place {
            if roster.places.fixed.contains_key(name) {
                return Err(collision(id, name));
            }
        }
        let now = self.passed(Now::unread().get());
        let feed = slot.member.feed.as_deref();
        let life = source::life(feed, &credential, expires, clock::wall());
        let ages = source::ages(feed, &life, None, now);
        let number = slot.current.load().number + 1;
        let member = Arc::clone(&slot.member);
        let new = Generation::new(number, credential, member, ages, Word::FRESH);
        // A new credential of a person's has no rests.
        self.put(&mut writer, &roster, slot, new, |_, _| slot.member.kept.forget());
        // A person has acted: what the source was refused for may be over.
        if let Some(feed) = feed {
            feed.flight().forget();
        }
        drop(writer);
        if life.remaining.is_some() {
            self.ending.store(true, Ordering::SeqCst);
        }
        self.watch();
        self.note_health();
        self.note_skew(&slot.current.load(), life.expired_by);
        Ok(number)
    }

    /// Puts another generation in the place of an account's. `hand_on` is given the last state of
    /// the old one, and the new one before it can be seen.
    pub(crate) fn put(
        &self,
        writer: &mut Writer,
        roster: &Arc<Roster>,
        slot: &Arc<Slot>,
        new: Generation,
        hand_on: impl FnOnce(Word, &Generation),
    ) {
        let known = roster.places.knows(&new.credential.place);
        let old = slot.current.load_full();
        // First no evidence about the old one counts any more, then the new one is counted, then it
        // can be seen: at each step the count is right for what requests can see.
        if let Some((was, _)) = old.update(|word| Some(word.closed())) {
            hand_on(was, &new);
            if !was.is_alive() && new.word().is_alive() {
                self.add_alive(1);
            }
        }
        slot.current.store(Arc::new(new));
        if known {
            self.look_at(&slot.member);
            self.changes.fetch_add(1, Ordering::SeqCst);
        } else {
            self.publish(roster.slots.to_vec());
        }
        writer.remember(&old, roster.slots.len());
        self.secrets.fetch_add(1, Ordering::SeqCst);
        self.spread();
    }

    pub(crate) fn remove(&self, id: &str) -> bool {
        let mut writer = lock(&self.writer);
        let roster = self.roster.load_full();
        let Some((at, slot)) = roster.find(id) else {
            return false;
        };
        let old = slot.current.load_full();
        let out = |word: Word| Some(word.retired().unwrap_or(word).closed());
        if old.update(out).is_some_and(|(was, _)| was.is_alive()) {
            self.add_alive(-1);
        }
        let mut slots = roster.slots.to_vec();
        slots.remove(at);
        self.publish(slots);
        writer.remember(&old, roster.slots.len());
        self.secrets.fetch_add(1, Ordering::SeqCst);
        true
    }

    pub(crate) fn revive(&self, id: &str) -> bool {
        let now = self.passed(Now::unread().get());
        let there = self
            .with_current(id, |generation| {
                generation.models(|models| *models = super::account::Models::default());
                generation.member.kept.forget();
                // That it has ended may be the fault of a clock; that it will, is not.
                if generation.ages.is_dead(now) {
                    generation.ages.forget();
                }
                if let Some(feed) = generation.member.asking() {
                    feed.flight().forget();
                }
                if generation.credential.is_loaded() {
                    self.change(generation, Word::revived);
                } else {
                    self.change(generation, Word::reloaded);
                }
            })
            .is_some();
        self.note_health();
        there
    }

    pub(crate) fn retire(&self, id: &str) -> bool {
        self.with_current(id, |generation| self.change(generation, Word::retired)).is_some()
    }

    pub(crate) fn invalidate(&self, id: &str, reason: Reason) -> bool {
        let mut now = Now::unread();
        let at = self.passed(now.get());
        // Its source may be asked what it can do, and do whatever it likes: under no lock.
        let Some(generation) = self.with_current(id, Arc::clone) else { return false };
        let since = |seen: Word| Since { seen, probe: false };
        let Some(change) = self.refuse(&generation, since, reason, at) else { return false };
        self.tell_refusal(&generation, &change, reason, None, &mut now);
        self.renew(&generation, at);
        true
    }

    pub(crate) fn rest(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        let now = self.passed(Now::unread().get());
        let rest = millis(time).min(self.settings.rests.max_rest);
        self.with_current(id, |generation| match model {
            Some(model) => {
                let grown = generation.models(|models| models.rest(model, now, rest));
                self.note_model_rest();
                grown
            }
            None => self.let_rest(generation, now, |word| word.rested(now, rest)).0,
        })
        .unwrap_or(false)
    }

    /// Some model rests: nobody's answer about who can serve holds for every model any more.
    pub(crate) fn note_model_rest(&self) {
        self.model_cooldowns.store(1, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        for slot in &self.roster.load().slots {
            slot.current.load().credential.visit_secrets(f);
        }
        let former: Vec<_> = lock(&self.writer).former.iter().map(|(_, one)| one.clone()).collect();
        for credential in &former {
            credential.visit_secrets(f);
        }
    }

    /// Nobody has a handle any more: what is in flight ends with what it has.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.watcher.notify_one();
        let mut writer = lock(&self.writer);
        writer.former.clear();
        // What is in flight still tells how many there were.
        let len = self.len.load(Ordering::Relaxed);
        self.publish(Vec::new());
        self.len.store(len, Ordering::Relaxed);
        self.last_news();
    }

    /// With the current generation of an account, which nobody replaces meanwhile.
    fn with_current<R>(&self, id: &str, f: impl FnOnce(&Arc<Generation>) -> R) -> Option<R> {
        let _writer = lock(&self.writer);
        let roster = self.roster.load();
        let (_, slot) = roster.find(id)?;
        Some(f(&slot.current.load()))
    }

    /// To be called by whoever holds the writer.
    fn publish(&self, slots: Vec<Arc<Slot>>) {
        let roster = Arc::new(Roster::new(slots, self.settings.order, self.settings.selection));
        self.restricted.store(roster.restricted, Ordering::Relaxed);
        let mints = roster.slots.iter().any(|slot| slot.member.asking().is_some());
        self.mints.store(mints, Ordering::Relaxed);
        self.len.store(roster.slots.len(), Ordering::Relaxed);
        self.roster.store(Arc::clone(&roster));
        fence(Ordering::SeqCst);
        roster.catch_up();
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.secrets.fetch_add(1, Ordering::SeqCst);
        // Whoever is told looks at once.
        self.spread();
    }
}

impl Writer {
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

    fn remember(&mut self, old: &Generation, accounts: usize) {
        // Of more accounts, messages are withheld in any case.
        let room = if accounts > MANY_SECRETS { FORMER } else { FORMER.max(4 * accounts) };
        while self.former.len() >= room {
            let mut of_each: HashMap<u32, usize> = HashMap::new();
            self.former.iter().for_each(|(uid, _)| *of_each.entry(*uid).or_default() += 1);
            let many = |(uid, _): &(u32, Credential)| of_each.get(uid).is_some_and(|n| *n > 2);
            let oldest = self.former.iter().position(many).unwrap_or(0);
            self.former.remove(oldest);
        }
        self.former.push_back((old.member.uid, old.credential.clone()));
    }
}

/// Unique in the process, and growing: the order in which accounts were listed.
fn next_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
