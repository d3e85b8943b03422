//! What is kept of each account.
//!
//! A [`Slot`] stands in the roster and has the current [`Generation`]; a generation has the
//! credential, its state, and the [`Member`]: what stays the same for as long as the account does.
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
    lifetime::Ages,
    model_cooldowns::Models,
    source::{self, Feed},
    state::Word,
};
use crate::{
    clock,
    credential::{Account, Credential},
    pool::shared::Shared,
    sync::{AtomicU32, AtomicU64, Mutex, Ordering, lock},
};

/// An account in the pool.
pub(crate) struct Slot {
    pub(crate) member: Arc<Member>,
    pub(crate) current: ArcSwap<Generation>,
}

/// One credential of an account, from when it was put in until it is replaced.
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) credential: Credential,
    pub(crate) member: Arc<Member>,
    pub(crate) ages: Ages,
    word: AtomicU64,
    models: Mutex<Option<Box<Models>>>,
}

/// What stays the same for as long as the account does, and what is counted.
pub(crate) struct Member {
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
    pub(crate) feed: Option<Box<Feed>>,
    pub(crate) counts: Tally,
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
pub(crate) struct Tally {
    pub(crate) sent: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) other: AtomicU64,
}

// === impl Slot ===

impl Slot {
    /// With how long before it came its credential had ended, if it had.
    pub(crate) fn new(
        account: Account,
        uid: u32,
        group: Option<u32>,
        turn: Arc<tokio::sync::Mutex<()>>,
        (shared, now): (&Arc<Shared>, u64),
    ) -> (Self, Option<Duration>) {
        let feed = Feed::new(&account, turn);
        let life =
            source::life(feed.as_deref(), &account.credential, account.expires, clock::wall());
        let ages = source::ages(feed.as_deref(), &life, None, now);
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
        let member = Arc::new(Member {
            uid,
            position: AtomicU32::new(u32::MAX),
            ordinal: AtomicU32::new(0),
            priority,
            weight,
            group,
            id_hash: crate::pool::index::hash(id.as_bytes()),
            id,
            extras,
            feed,
            counts: Tally::default(),
            open: AtomicU32::new(0),
            remaining: AtomicU64::new(u64::MAX),
            queued: AtomicU64::new(u64::MAX),
            kept: Kept::new(),
            shared: Arc::clone(shared),
        });
        let word = if credential.is_loaded() { Word::FRESH } else { Word::unloaded() };
        let first = Generation::new(1, credential, Arc::clone(&member), ages, word);
        (Self { member, current: ArcSwap::from_pointee(first) }, life.expired_by)
    }

    pub(crate) fn word(&self) -> Word {
        self.current.load().word()
    }
}

// === impl Generation ===

impl Generation {
    pub(crate) fn new(
        number: u64,
        credential: Credential,
        member: Arc<Member>,
        ages: Ages,
        word: Word,
    ) -> Self {
        let word = AtomicU64::new(word.bits());
        Self { number, credential, member, ages, word, models: Mutex::new(None) }
    }

    pub(crate) fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Acquire))
    }

    /// One change of the state, as one step. Gives what was and what is; `None` if nothing changed.
    pub(crate) fn update(&self, f: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let mut old = self.word.load(Ordering::Acquire);
        loop {
            let next = f(Word::from_bits(old))?;
            let swapped = self.word.compare_exchange_weak(
                old,
                next.bits(),
                Ordering::SeqCst,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return Some((Word::from_bits(old), next)),
                Err(newer) => old = newer,
            }
        }
    }

    /// Looks at, or changes, the models that rest, and keeps the word's flag in step.
    pub(crate) fn models<R>(&self, f: impl FnOnce(&mut Models) -> R) -> R {
        let mut table = lock(&self.models);
        let mut models = table.take().unwrap_or_default();
        let result = f(&mut models);
        let some = !models.is_empty();
        // Under the lock, so that flag and table change together.
        self.update(|word| word.with_model_rests(some));
        *table = some.then_some(models);
        result
    }
}

// === impl Member ===

impl Member {
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

// === impl Tally ===

impl Tally {
    pub(crate) fn in_flight(&self) -> u64 {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // `sent` last: what ends in between has been counted as sent.
        let ended =
            read(&self.succeeded) + read(&self.refused) + read(&self.limited) + read(&self.other);
        read(&self.sent).saturating_sub(ended)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("account", &self.member.id)
            .field("number", &self.number)
            .field("credential", &self.credential)
            .field("state", &self.word())
            .finish_non_exhaustive()
    }
}
