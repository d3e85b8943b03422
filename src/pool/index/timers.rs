//! Timers of accounts that are out.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, TryLockError, Weak},
};

use crate::{
    pool::account::PooledAccount,
    sync::{AtomicU64, Mutex, Ordering, PoisonError, lock},
};

/// The timers of accounts, soonest first.
///
/// A request reads one atomic, and takes the lock only when a timer is due. An account has one timer: a
/// cooldown that grows is noticed when the old time is up, and queued again then.
///
/// # Ordering
///
/// `next` is stored with `Release` under the lock, and loaded with `Acquire`: a request that sees a due
/// time finds the timer. `queued` of an account is `SeqCst`: it is stored under the lock, before the
/// fence in `Shared::sync_index`, and loaded after the fence in `Shared::publish`.
pub(crate) struct Timers {
    next: AtomicU64,
    heap: Mutex<BinaryHeap<Reverse<Timer>>>,
}

struct Timer {
    at: u64,
    /// Weak: a removed account is dropped before its timer is due.
    account: Weak<PooledAccount>,
}

/// The most timers that one request handles.
const BATCH: usize = 256;

impl Timers {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(u64::MAX), heap: Mutex::new(BinaryHeap::new()) }
    }

    /// Returns when the next timer is due; `u64::MAX` without one.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop {
        lock(&self.heap)
    }

    /// Sets the timer of `account` to `at`, unless it is due earlier.
    pub(crate) fn add(&self, account: &Arc<PooledAccount>, at: u64) {
        self.push(&mut lock(&self.heap), account, at);
    }

    fn push(&self, heap: &mut BinaryHeap<Reverse<Timer>>, account: &Arc<PooledAccount>, at: u64) {
        if at >= account.queued.load(Ordering::SeqCst) {
            return;
        }
        account.queued.store(at, Ordering::SeqCst);
        heap.push(Reverse(Timer { at, account: Arc::downgrade(account) }));
        self.recompute_next(heap);
    }

    /// Takes the timers that are due at `now`, and passes each account to `look`, which returns when to
    /// look again. At most a batch, unless `all`; with `all` it waits for a thread that does the same,
    /// else it leaves the work to that thread.
    pub(crate) fn sweep(
        &self,
        now: u64,
        all: bool,
        look: &mut dyn FnMut(&Arc<PooledAccount>) -> Option<u64>,
    ) {
        let mut heap = match self.heap.try_lock() {
            Ok(heap) => heap,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) if all => lock(&self.heap),
            Err(TryLockError::WouldBlock) => return,
        };
        let mut again = Vec::new();
        let mut left = if all { usize::MAX } else { BATCH };
        while left > 0 && heap.peek().is_some_and(|entry| entry.0.at <= now) {
            left -= 1;
            let Some(Reverse(entry)) = heap.pop() else {
                break;
            };
            let Some(account) = entry.account.upgrade() else {
                continue;
            };
            if account.queued.load(Ordering::SeqCst) != entry.at {
                // An earlier timer was handled already.
                continue;
            }
            account.queued.store(u64::MAX, Ordering::SeqCst);
            if let Some(at) = look(&account) {
                again.push((account, at));
            }
        }
        for (account, at) in again {
            self.push(&mut heap, &account, at);
        }
        self.recompute_next(&heap);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.heap).len()
    }

    fn recompute_next(&self, heap: &BinaryHeap<Reverse<Timer>>) {
        let next = heap.peek().map_or(u64::MAX, |entry| entry.0.at);
        self.next.store(next, Ordering::Release);
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
