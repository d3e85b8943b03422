//! The memory of a gate without a pool: keyed hashes of origin, header and value, 10,000 at most.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, header::HOST, request::Parts};
use tokio::time::Instant;

use crate::{
    classify::{Cause, Code, Reason},
    clock::{Doubling, Now},
};

/// The most rejected credentials that a gate without a pool remembers, by default.
pub(crate) const REMEMBERED: usize = 10_000;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The quarantine of a rejected credential, which doubles with each failed probe.
const REJECTED: Doubling = Doubling::new(Duration::from_secs(5), HOUR);
/// The quarantine of a revoked credential.
const REVOKED: Doubling = Doubling::new(HOUR, Duration::from_secs(24 * 60 * 60));

/// The rejected credentials that one gate has seen.
///
/// A credential is known by a keyed hash over the origin, the names of its headers and their
/// values. At most `capacity` are remembered; the oldest is forgotten first.
///
/// # Ordering
///
/// `rejected` is stored with `Release` under the lock, and loaded with `Acquire` in
/// [`enter`](Self::enter). A load that sees zero skips the lock; an entry that is added at the same
/// time is as if it had been added right after.
pub(crate) struct Memory {
    any: bool,
    names: Vec<HeaderName>,
    capacity: usize,
    hasher: RandomState,
    /// The number of entries: while it is zero, no attempt takes the lock.
    rejected: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    oldest: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    reason: Reason,
    until: Instant,
    strikes: u32,
    probing: bool,
}

/// The hash by which a credential is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

/// An attempt that may be sent. A probe that is dropped without a verdict gives its slot back.
pub(crate) struct Pass {
    key: Key,
    probe: Option<Arc<Memory>>,
}

impl Key {
    /// Returns the key of the credential on this request, if there is one.
    pub(crate) fn of(head: &Parts, memory: &Memory) -> Option<Self> {
        let mut hasher = memory.hasher.build_hasher();
        let mut found = false;
        for name in &memory.names {
            for value in head.headers.get_all(name) {
                found = true;
                hash_part(&mut hasher, name.as_str().as_bytes());
                hash_part(&mut hasher, value.as_bytes());
            }
        }
        if !found {
            return None;
        }
        let authority = match head.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => head.headers.get(HOST).map_or(&b""[..], |host| host.as_bytes()),
        };
        // User information is not part of an origin (RFC 6454 §4).
        let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
        hasher.write_usize(host.len());
        for byte in host {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        hash_part(&mut hasher, head.uri.scheme_str().unwrap_or_default().as_bytes());
        Some(Self(hasher.finish()))
    }
}

fn hash_part(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

impl Memory {
    pub(crate) fn new(any: bool, names: Vec<HeaderName>, capacity: usize) -> Self {
        Self {
            any,
            names,
            capacity: capacity.max(1),
            hasher: RandomState::new(),
            rejected: AtomicUsize::new(0),
            table: Mutex::new(Table::default()),
        }
    }

    /// Admits an attempt with the credential on this request, or returns why it must not be sent.
    ///
    /// `stamped` says that a rotation put the credential there.
    pub(crate) fn admit(
        self: &Arc<Self>,
        head: &Parts,
        stamped: bool,
        now: &mut Now,
    ) -> Result<Option<Pass>, Cause> {
        if !stamped && !self.any {
            return Ok(None);
        }
        let Some(key) = Key::of(head, self) else { return Ok(None) };
        self.enter(key, now)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut table);
        // Pairs with the load in `enter`.
        self.rejected.store(table.entries.len(), Ordering::Release);
        result
    }

    /// Admits an attempt with this credential, as a probe if one is due.
    pub(crate) fn enter(self: &Arc<Self>, key: Key, now: &mut Now) -> Result<Option<Pass>, Cause> {
        // Pairs with the store in `with`.
        if self.rejected.load(Ordering::Acquire) == 0 {
            return Ok(Some(Pass { key, probe: None }));
        }
        let now = now.get();
        self.with(|table| match table.entries.get_mut(&key.0) {
            None => Ok(Some(Pass { key, probe: None })),
            Some(entry) if entry.probing || entry.until > now => {
                Err(Cause::local(Code::from(entry.reason)))
            }
            Some(entry) => {
                entry.probing = true;
                Ok(Some(Pass { key, probe: Some(self.clone()) }))
            }
        })
    }

    /// Records that the upstream rejected the credential.
    pub(crate) fn note_rejected(&self, mut pass: Pass, reason: Reason, now: &mut Now) {
        let probe = pass.probe.take().is_some();
        let now = now.get();
        self.with(|table| {
            if let Some(entry) = table.entries.get_mut(&pass.key.0) {
                if probe {
                    entry.strikes = entry.strikes.saturating_add(1);
                    entry.probing = false;
                    entry.reason = reason;
                    entry.until = quarantine_end(now, reason, entry.strikes).max(entry.until);
                }
                // Other attempts were in flight with the rejected one: together they count once.
                return;
            }
            let until = quarantine_end(now, reason, 0);
            table.entries.insert(pass.key.0, Entry { reason, until, strikes: 0, probing: false });
            table.oldest.push_back(pass.key.0);
            while table.entries.len() > self.capacity {
                let Some(oldest) = table.oldest.pop_front() else { break };
                table.entries.remove(&oldest);
            }
        });
    }

    /// Forgets a credential that the upstream accepted as a probe. Other successes change nothing:
    /// they may be older than the rejection.
    pub(crate) fn forget(&self, mut pass: Pass) {
        if pass.probe.take().is_some() {
            self.with(|table| {
                table.entries.remove(&pass.key.0);
                table.oldest.retain(|key| *key != pass.key.0);
            });
        }
    }
}

fn quarantine_end(now: Instant, reason: Reason, strikes: u32) -> Instant {
    let quarantine = match reason {
        Reason::Revoked => REVOKED,
        _ => REJECTED,
    };
    now.checked_add(quarantine.after(strikes)).unwrap_or(now)
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(memory) = self.probe.take() {
            memory.with(|table| {
                if let Some(entry) = table.entries.get_mut(&self.key.0) {
                    entry.probing = false;
                }
            });
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("probe", &self.probe.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("any", &self.any)
            .field("capacity", &self.capacity)
            .field("rejected", &self.rejected.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
