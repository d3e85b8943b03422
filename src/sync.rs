//! The atomics and locks of the pool, which a model checker replaces by its own. A `static` outlives
//! the runs of a model, and uses the standard library's.
//!
//! The name `failover_loom` is this crate's own: `--cfg loom` applies to all crates of a build, and
//! removes the network from tokio, without which the tests do not build.

#[cfg(not(all(test, failover_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(all(test, failover_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(all(test, failover_loom))]
pub(crate) use std::sync::PoisonError;

/// Locks a mutex, also after a panic elsewhere: the data is consistent between any two writes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
