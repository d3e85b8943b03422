//! What is kept of each account.
//!
//! A [`Entry`] stands in the roster and has the current [`Generation`]; a generation has the
//! credential, its state, and the [`PooledAccount`]: what stays the same for as long as the account does.
//! A request in flight holds its generation alone, so that nothing is written that other accounts'
//! requests write too.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{
    HeaderMap, HeaderValue, Uri,
    uri::{Authority, Scheme},
};

use super::{
    kept::Kept,
    lifetime::Lifetime,
    model_cooldowns::ModelCooldowns,
    source::{self, Source},
    state::GenerationState,
};
use crate::{
    clock,
    credential::{Account, Credential},
    pool::shared::Shared,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock},
};

/// An account in the pool.
pub(crate) struct Entry {
    pub(crate) account: Arc<PooledAccount>,
    pub(crate) current: ArcSwap<Generation>,
}

/// One credential of an account, from when it was put in until it is replaced.
pub(crate) struct Generation {
    /// From 1; 0 is an account whose source has not given its first credential.
    pub(crate) number: u64,
    pub(crate) credential: Credential,
    pub(crate) account: Arc<PooledAccount>,
    pub(crate) lifetime: Lifetime,
    state: AtomicU64,
    model_cooldowns: Mutex<Option<Box<ModelCooldowns>>>,
}

/// What stays the same for as long as the account does, and what is counted.
pub(crate) struct PooledAccount {
    pub(crate) uid: u32,
    /// Where it stands in the newest roster; checked by whoever uses it.
    pub(crate) position: AtomicU32,
    /// Its place as listed, from 1.
    pub(crate) ordinal: AtomicU32,
    pub(crate) priority: i32,
    pub(crate) weight: u32,
    pub(crate) group: Option<u32>,
    pub(crate) id: Arc<str>,
    pub(crate) id_hash: u64,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) source: Option<Box<Source>>,
    pub(crate) counts: AttemptCounts,
    /// Requests in flight; counted only when the pool chooses by it.
    pub(crate) open: AtomicU32,
    /// What the upstream last said is left; `u64::MAX` if it never did.
    pub(crate) remaining: AtomicU64,
    /// The time at which the due list will look at it; `u64::MAX` if it will not.
    pub(crate) queued: AtomicU64,
    /// Its rest while its source is asked.
    pub(crate) kept: Kept,
    pub(crate) shared: Arc<Shared>,
}

/// What few accounts have.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) group: Option<Arc<str>>,
    pub(crate) base: Option<Base>,
    pub(crate) headers: HeaderMap,
    pub(crate) models: Option<Vec<Box<str>>>,
}

/// Where an account lives.
pub(crate) struct Base {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The authority as a `Host` header has it.
    pub(crate) host: HeaderValue,
}

/// How many attempts there were, and how they ended.
#[derive(Default)]
pub(crate) struct AttemptCounts {
    pub(crate) sent: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) other: AtomicU64,
}

// === impl Slot ===

impl Entry {
    /// With how long before it came its credential had ended, if it had.
    pub(crate) fn new(
        account: Account,
        uid: u32,
        group: Option<u32>,
        turn: Arc<tokio::sync::Mutex<()>>,
        (shared, now): (&Arc<Shared>, u64),
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
            id_hash: crate::pool::index::hash(id.as_bytes()),
            id,
            extras,
            source,
            counts: AttemptCounts::default(),
            open: AtomicU32::new(0),
            remaining: AtomicU64::new(u64::MAX),
            queued: AtomicU64::new(u64::MAX),
            kept: Kept::new(),
            shared: Arc::clone(shared),
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

// === impl Generation ===

impl Generation {
    pub(crate) fn new(
        number: u64,
        credential: Credential,
        account: Arc<PooledAccount>,
        lifetime: Lifetime,
        state: GenerationState,
    ) -> Self {
        let state = AtomicU64::new(state.bits());
        Self { number, credential, account, lifetime, state, model_cooldowns: Mutex::new(None) }
    }

    pub(crate) fn state(&self) -> GenerationState {
        GenerationState::from_bits(self.state.load(Ordering::Acquire))
    }

    /// One change of the state, as one step. Gives what was and what is; `None` if nothing changed.
    pub(crate) fn update(
        &self,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> Option<(GenerationState, GenerationState)> {
        let mut old = self.state.load(Ordering::Acquire);
        loop {
            let next = f(GenerationState::from_bits(old))?;
            let swapped = self.state.compare_exchange_weak(
                old,
                next.bits(),
                Ordering::SeqCst,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return Some((GenerationState::from_bits(old), next)),
                Err(newer) => old = newer,
            }
        }
    }

    /// Looks at, or changes, the models that rest, and keeps the word's flag in step.
    pub(crate) fn model_cooldowns<R>(&self, f: impl FnOnce(&mut ModelCooldowns) -> R) -> R {
        let mut table = lock(&self.model_cooldowns);
        let mut models = table.take().unwrap_or_default();
        let result = f(&mut models);
        let some = !models.is_empty();
        // Under the lock, so that flag and table change together.
        self.update(|state| state.with_model_cooldowns(some));
        *table = some.then_some(models);
        result
    }
}

// === impl Member ===

impl PooledAccount {
    pub(crate) fn headers(&self) -> Option<&HeaderMap> {
        self.extras.as_deref().map(|extras| &extras.headers)
    }

    pub(crate) fn group_name(&self) -> Option<&Arc<str>> {
        self.extras.as_deref()?.group.as_ref()
    }

    pub(crate) fn is_restricted(&self) -> bool {
        self.extras.as_deref().is_some_and(|extras| extras.models.is_some())
    }

    pub(crate) fn may_serve(&self, model: Option<&str>) -> bool {
        let list = self.extras.as_deref().and_then(|extras| extras.models.as_ref());
        match (list, model) {
            (Some(list), Some(model)) => list.iter().any(|one| **one == *model),
            _ => true,
        }
    }
}

// === impl Base ===

impl Base {
    /// `None` for what the builder refuses.
    fn new(uri: Uri) -> Option<Self> {
        let parts = uri.into_parts();
        let (scheme, authority) = (parts.scheme?, parts.authority?);
        // RFC 9110 §7.2: host and port, without what stands before an `@`.
        let host = authority.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let host = HeaderValue::from_str(host).ok()?;
        Some(Self { scheme, authority, host })
    }
}

// === impl AttemptCounts ===

impl AttemptCounts {
    pub(crate) fn in_flight(&self) -> u64 {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // `sent` last: what ends in between has been counted as sent.
        let ended =
            read(&self.succeeded) + read(&self.rejected) + read(&self.limited) + read(&self.other);
        read(&self.sent).saturating_sub(ended)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("account", &self.account.id)
            .field("number", &self.number)
            .field("credential", &self.credential)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
