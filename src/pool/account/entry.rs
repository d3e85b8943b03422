//! The entry of an account in the roster.
//!
//! An [`Entry`] holds the account's current [`Generation`]; a generation holds the credential, its
//! state, and the [`PooledAccount`], which stays the same. A request in flight holds a generation, so
//! that requests of different accounts write to different memory.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    account::{AttemptCounts, Base, Extras, PooledAccount, Registered},
    generation::Generation,
    kept::Kept,
    source::{self, Source},
    state::GenerationState,
    strikes::Strikes,
};
use crate::{
    clock,
    credential::Account,
    sync::{AtomicU32, AtomicU64},
};

/// An account in the pool.
pub(crate) struct Entry {
    pub(crate) account: Arc<PooledAccount>,
    pub(crate) current: ArcSwap<Generation>,
}

impl Entry {
    /// Builds an entry. Returns also how long ago its credential had expired, if it had.
    pub(crate) fn new(
        account: Account,
        Registered { uid, id_hash, group, turn }: Registered,
        now: u64,
    ) -> (Self, Option<Duration>) {
        let source = Source::new(&account, turn);
        let life =
            source::life(source.as_deref(), &account.credential, account.expires, clock::wall());
        let lifetime = source::lifetime(source.as_deref(), &life, None, now);
        let Account {
            id,
            credential,
            headers,
            base_uri,
            priority,
            weight,
            group: name,
            models,
            ..
        } = account;
        let base = base_uri.and_then(Base::new);
        let plain = headers.is_empty() && base.is_none() && name.is_none() && models.is_none();
        let extras = (!plain).then(|| Box::new(Extras { group: name, base, headers, models }));
        let account = Arc::new(PooledAccount {
            uid,
            position: AtomicU32::new(u32::MAX),
            ordinal: AtomicU32::new(0),
            priority,
            weight,
            group,
            id_hash,
            id,
            extras,
            source,
            counts: AttemptCounts::default(),
            open: AtomicU32::new(0),
            remaining: AtomicU64::new(u64::MAX),
            queued: AtomicU64::new(u64::MAX),
            strikes: Strikes::new(),
            kept: Kept::new(),
        });
        let (number, state) = if credential.is_loaded() {
            (1, GenerationState::NEW)
        } else {
            (0, GenerationState::unloaded())
        };
        let first = Generation::new(number, credential, Arc::clone(&account), lifetime, state);
        (Self { account, current: ArcSwap::from_pointee(first) }, life.expired_by)
    }

    pub(crate) fn state(&self) -> GenerationState {
        self.current.load().state()
    }
}
