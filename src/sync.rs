//! The atomics of the pool, so that a model checker can put its own in their place. What is `static`
//! outlives any of its runs, and uses the standard library's.
//!
//! The name is this crate's own: `--cfg loom` is for all crates of a build, and takes the network out
//! of tokio, without which the tests do not build.

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

/// The lock, also after a panic elsewhere: what it guards is whole between any two of its writes.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
