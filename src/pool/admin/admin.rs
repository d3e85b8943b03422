//! Changes of the accounts while requests are in flight.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use super::validate::{check_account, check_collisions, collision};
use crate::{
    classify::Reason,
    clock::{self, Now},
    credential::{Account, Credential, Expires, Placement},
    pool::{
        account::{
            Entry, Generation, GenerationState, ModelCooldowns, Registered, Since, millis, source,
        },
        error::PoolError,
        index, refresh,
        shared::Shared,
        watch,
    },
    sync::{Ordering, lock},
};

pub(crate) fn insert(shared: &Arc<Shared>, accounts: Vec<Account>) -> Result<(), PoolError> {
    // The user's code runs without a lock.
    for account in &accounts {
        check_account(&shared.settings.origins, account)?;
        if account.credential.is_loaded() {
            shared.settings.sources.validate_token(&account.id, &account.credential)?;
        }
    }
    let mut registry = lock(&shared.registry);
    let roster = shared.roster.load_full();
    let mut ids = HashSet::with_capacity(accounts.len());
    for account in &accounts {
        if roster.find(&account.id).is_some() || !ids.insert(&*account.id) {
            return Err(PoolError::DuplicateId { id: (*account.id).into() });
        }
    }
    check_collisions(&roster, &accounts)?;
    let added = accounts.len();
    let now = shared.passed(Now::unread().get());
    let mut entries = roster.entries.to_vec();
    let mut late = Vec::new();
    entries.extend(accounts.into_iter().map(|account| {
        let group = account.group.as_ref().map(|name| registry.group(name));
        let turn = registry.turn(group);
        let id_hash = index::hash(account.id.as_bytes());
        let registered = Registered { uid: next_uid(), id_hash, group, turn };
        let (entry, by) = Entry::new(account, registered, now);
        let entry = Arc::new(entry);
        if entry.current.load().lifetime.end != u64::MAX && entry.account.minting_source().is_none()
        {
            shared.has_expiry.store(true, Ordering::Relaxed);
        }
        late.extend(by.map(|by| (Arc::clone(&entry), by)));
        entry
    }));
    // Before requests can see them: an account must be counted before it can be the last one.
    shared.adjust_alive(i64::try_from(added).unwrap_or(i64::MAX));
    shared.publish(entries);
    // Reports are made without a lock.
    drop(registry);
    watch::watch(shared);
    shared.report_recovery();
    for (entry, by) in late {
        shared.report_skew(&entry.current.load(), Some(by));
    }
    Ok(())
}

pub(crate) fn replace(
    shared: &Arc<Shared>,
    id: &str,
    credential: Credential,
    expires: Expires,
) -> Result<u64, PoolError> {
    shared.settings.sources.validate_token(id, &credential)?;
    let mut registry = lock(&shared.registry);
    let roster = shared.roster.load_full();
    let Some((_, entry)) = roster.find(id) else {
        return Err(PoolError::UnknownAccount { id: id.into() });
    };
    if let Placement::Header(name, _) = &credential.place {
        if roster.places.fixed.contains_key(name) {
            return Err(collision(id, name));
        }
    }
    let now = shared.passed(Now::unread().get());
    let source = entry.account.source.as_deref();
    let life = source::life(source, &credential, expires, clock::wall());
    let lifetime = source::lifetime(source, &life, None, now);
    let number = entry.current.load().number + 1;
    let account = Arc::clone(&entry.account);
    let new = Generation::new(number, credential, account, lifetime, GenerationState::NEW);
    // The credential of an operator starts without cooldowns.
    shared.put(&mut registry, &roster, entry, new, |_, _| {
        entry.account.kept.forget();
        entry.account.strikes.forget();
    });
    // The reason for which the source failed may be gone.
    if let Some(source) = source {
        source.flight().forget();
    }
    drop(registry);
    if life.remaining.is_some() {
        shared.has_expiry.store(true, Ordering::Relaxed);
    }
    watch::watch(shared);
    shared.report_recovery();
    shared.report_skew(&entry.current.load(), life.expired_by);
    Ok(number)
}

pub(crate) fn remove(shared: &Shared, id: &str) -> bool {
    let mut registry = lock(&shared.registry);
    let roster = shared.roster.load_full();
    let Some((at, entry)) = roster.find(id) else {
        return false;
    };
    let old = entry.current.load_full();
    let out = |state: GenerationState| Some(state.retired().unwrap_or(state).closed());
    if old.update(out).is_some_and(|(was, _)| was.is_alive()) {
        shared.adjust_alive(-1);
    }
    let mut entries = roster.entries.to_vec();
    entries.remove(at);
    shared.publish(entries);
    registry.remember_former(&old, roster.entries.len());
    // Ordering 4: pairs with the loads in `filter`.
    shared.secrets.fetch_add(1, Ordering::SeqCst);
    true
}

pub(crate) fn revive(shared: &Shared, id: &str) -> bool {
    let now = shared.passed(Now::unread().get());
    let there = with_current(shared, id, |generation| {
        generation.model_cooldowns(|models| *models = ModelCooldowns::default());
        generation.account.kept.forget();
        generation.account.strikes.forget();
        // A clock may be wrong about a past expiry; a future one stays.
        if generation.lifetime.is_expired(now) {
            generation.lifetime.forget();
        }
        if let Some(source) = generation.account.minting_source() {
            source.flight().forget();
        }
        if generation.credential.is_loaded() {
            shared.change(generation, GenerationState::revived);
        } else {
            shared.change(generation, GenerationState::revived_unloaded);
        }
    })
    .is_some();
    shared.report_recovery();
    there
}

pub(crate) fn retire(shared: &Shared, id: &str) -> bool {
    with_current(shared, id, |generation| shared.change(generation, GenerationState::retired))
        .is_some()
}

pub(crate) fn invalidate(shared: &Arc<Shared>, id: &str, reason: Reason) -> bool {
    let mut now = Now::unread();
    let at = shared.passed(now.get());
    // The source's own code runs without a lock.
    let Some(generation) = with_current(shared, id, Arc::clone) else { return false };
    let since = |seen: GenerationState| Since { seen, probe: false };
    let Some(change) = refresh::reject(shared, &generation, since, reason, at) else {
        return false;
    };
    shared.report_rejection(&generation, &change, reason, None, &mut now);
    refresh::renew(shared, &generation, at);
    true
}

pub(crate) fn cool_down(shared: &Shared, id: &str, model: Option<&str>, time: Duration) -> bool {
    let now = shared.passed(Now::unread().get());
    let cooldown = millis(time).min(shared.settings.cooldowns.max_rest);
    with_current(shared, id, |generation| match model {
        Some(model) => {
            let grown = generation.model_cooldowns(|models| models.cool_down(model, now, cooldown));
            shared.note_model_cooldown();
            grown
        }
        None => shared.note_cooldown(generation, now, |state| state.cooled_down(now, cooldown)).0,
    })
    .unwrap_or(false)
}

/// Closes the pool after its last handle: requests in flight end with the credential they have.
pub(crate) fn shut_down(shared: &Shared) {
    // Ordering 6: pairs with the loads of `closed` in waiters and tasks.
    shared.closed.store(true, Ordering::SeqCst);
    shared.expiry_check.notify_one();
    let mut registry = lock(&shared.registry);
    registry.former.clear();
    // Reports of requests in flight still name the number of accounts.
    let len = shared.len.load(Ordering::Relaxed);
    shared.publish(Vec::new());
    shared.len.store(len, Ordering::Relaxed);
    shared.notify_closed();
}

/// Calls `f` with the current generation of an account, which is not replaced meanwhile.
fn with_current<R>(shared: &Shared, id: &str, f: impl FnOnce(&Arc<Generation>) -> R) -> Option<R> {
    let _registry = lock(&shared.registry);
    let roster = shared.roster.load();
    let (_, entry) = roster.find(id)?;
    Some(f(&entry.current.load()))
}

/// Returns a number that is unique in the process and grows: the order of the accounts.
fn next_uid() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
