//! The parts of an account that stay the same whatever credential it has.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Uri,
    uri::{Authority, Scheme},
};

use super::{kept::Kept, source::Source, strikes::Strikes};
use crate::{
    classify::Reason,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// The fixed data of an account, and its counters.
pub(crate) struct PooledAccount {
    pub(crate) uid: u32,
    /// Its position in the newest roster: a hint, which each reader checks.
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
    /// Requests in flight; counted only when the pool selects by it.
    pub(crate) open: AtomicU32,
    /// The remaining quota of the last answer; `u64::MAX` if unknown.
    pub(crate) remaining: AtomicU64,
    /// The time of its timer; `u64::MAX` without one.
    pub(crate) queued: AtomicU64,
    /// Its limits in a row without a hint.
    pub(crate) strikes: Strikes,
    /// Its cooldown while the state has no room for it.
    pub(crate) kept: Kept,
}

/// Data that few accounts have.
#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) group: Option<Arc<str>>,
    pub(crate) base: Option<Base>,
    pub(crate) headers: HeaderMap,
    pub(crate) models: Option<Vec<Box<str>>>,
}

/// The base URI of an account.
pub(crate) struct Base {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// The authority as a `Host` header has it.
    pub(crate) host: HeaderValue,
}

/// The number of attempts, by outcome.
#[derive(Default)]
pub(crate) struct AttemptCounts {
    pub(crate) sent: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) other: AtomicU64,
}

/// The values that the pool assigns to an account when it is inserted.
pub(crate) struct Registered {
    /// Unique in the process, and growing: the order in which accounts were listed.
    pub(crate) uid: u32,
    /// The hash of the account's id, for sticky requests.
    pub(crate) id_hash: u64,
    pub(crate) group: Option<u32>,
    /// Serialises the calls to the sources of one group.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

// === impl PooledAccount ===

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

    /// Returns the account's source if it has one that can be called.
    pub(crate) fn minting_source(&self) -> Option<&Source> {
        self.source.as_deref().filter(|source| source.minting.is_some())
    }

    /// Returns whether the account's source may give another credential after `reason`.
    pub(crate) fn can_renew_after(&self, reason: Reason) -> bool {
        self.source.as_deref().is_some_and(|source| source.can_renew_after(reason))
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
    pub(super) fn new(uri: Uri) -> Option<Self> {
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
