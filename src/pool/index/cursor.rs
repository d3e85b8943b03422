//! The positions of the next turns: one cell for each thread, so that no cell is written by all.

use std::{cell::Cell, sync::atomic::AtomicU32};

use crate::sync::{AtomicU64, Ordering};

/// The number of threads with cells of their own; more threads share them.
const STRIPES: usize = 16;
/// The number of tiers with cells of their own; the others share the last.
const TIERS: usize = 16;

/// The cursors of a pool.
pub(crate) struct Cursors {
    stripes: Box<[Stripe; STRIPES]>,
}

/// One thread's cursors, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Stripe([AtomicU64; TIERS]);

impl Cursors {
    pub(crate) fn new() -> Self {
        Self { stripes: Box::default() }
    }

    /// Returns the cursor of the `tier`-th tier for this thread. It is loaded and stored apart: two
    /// threads that share one may take the same turn, which is harmless.
    pub(crate) fn of(&self, tier: usize) -> Cursor<'_> {
        Cursor(&self.stripes[stripe() % STRIPES].0[tier.min(TIERS - 1)])
    }
}

/// One cell.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a AtomicU64);

impl Cursor<'_> {
    pub(crate) fn get(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the value, and advances it.
    pub(crate) fn advance(self) -> u64 {
        let value = self.get();
        self.set(value.wrapping_add(1));
        value
    }
}

fn stripe() -> usize {
    static THREADS: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static STRIPE: Cell<Option<u32>> = const { Cell::new(None) };
    }
    // A thread that is shutting down uses the first.
    STRIPE
        .try_with(|cell| {
            cell.get().unwrap_or_else(|| {
                let mine = THREADS.fetch_add(1, Ordering::Relaxed);
                cell.set(Some(mine));
                mine
            })
        })
        .map_or(0, |mine| mine as usize)
}
