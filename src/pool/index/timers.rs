//! Who must be looked at again, and when.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, TryLockError, Weak},
};

use crate::{
    pool::account::Member,
    sync::{AtomicU64, Mutex, Ordering, PoisonError, lock},
};

/// The accounts that must be looked at again, soonest first.
///
/// A request reads one atomic, and takes the lock only when somebody is due. An account stands here
/// once: a rest that grows is noticed when the old time is up, and is queued again then.
pub(crate) struct Due {
    next: AtomicU64,
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
}

struct Entry {
    at: u64,
    /// The member has the hub, and the hub has this: not an `Arc`.
    member: Weak<Member>,
}

/// The most that one request takes off the list for the others.
const BATCH: usize = 256;

impl Due {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(u64::MAX), heap: Mutex::new(BinaryHeap::new()) }
    }

    /// When somebody is due; `u64::MAX` when nobody ever is.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop {
        lock(&self.heap)
    }

    /// `member` must be looked at again at `at`, or earlier.
    pub(crate) fn add(&self, member: &Arc<Member>, at: u64) {
        self.push(&mut lock(&self.heap), member, at);
    }

    fn push(&self, heap: &mut BinaryHeap<Reverse<Entry>>, member: &Arc<Member>, at: u64) {
        if at >= member.queued.load(Ordering::SeqCst) {
            return;
        }
        member.queued.store(at, Ordering::SeqCst);
        heap.push(Reverse(Entry { at, member: Arc::downgrade(member) }));
        self.tell_next(heap);
    }

    /// Takes off those who are due at `now`, and gives each to `look`, which says when it must be
    /// looked at again, if so. Not more than a batch, unless `all`; with `all` it waits for whoever
    /// does the same, else it leaves the work to them.
    pub(crate) fn sweep(
        &self,
        now: u64,
        all: bool,
        look: &mut dyn FnMut(&Arc<Member>) -> Option<u64>,
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
            let Some(member) = entry.member.upgrade() else {
                continue;
            };
            if member.queued.load(Ordering::SeqCst) != entry.at {
                // A sooner entry has been here already.
                continue;
            }
            member.queued.store(u64::MAX, Ordering::SeqCst);
            if let Some(at) = look(&member) {
                again.push((member, at));
            }
        }
        for (member, at) in again {
            self.push(&mut heap, &member, at);
        }
        self.tell_next(&heap);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.heap).len()
    }

    fn tell_next(&self, heap: &BinaryHeap<Reverse<Entry>>) {
        let next = heap.peek().map_or(u64::MAX, |entry| entry.0.at);
        self.next.store(next, Ordering::Release);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}
