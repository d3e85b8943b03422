//! The receiver of events, and the handle that pools and layers hold.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::report::Event;

/// A receiver of events.
///
/// 1. It is called inline, in the task that drives the request, also from a `Drop`. It must not block.
/// 2. Several threads may call it at once.
/// 3. A panic of the reporter is caught and counted, and the request continues.
///
/// A closure is a reporter:
///
/// ```
/// use tower_failover::{report::ReporterHandle, Event};
///
/// let reporter = ReporterHandle::new(|event: &Event| eprintln!("{}: {event}", event.code()));
/// assert!(!reporter.is_none());
/// ```
pub trait Reporter: Send + Sync + 'static {
    /// Receives `event`.
    fn report(&self, event: &Event);

    /// Wraps the reporter for pools and layers. A [`ReporterHandle`] is passed through as it is.
    fn into_handle(self) -> ReporterHandle
    where
        Self: Sized,
    {
        ReporterHandle::wrap(self)
    }
}

impl<F: Fn(&Event) + Send + Sync + 'static> Reporter for F {
    fn report(&self, event: &Event) {
        self(event);
    }
}

impl<R: Reporter + ?Sized> Reporter for Arc<R> {
    fn report(&self, event: &Event) {
        (**self).report(event);
    }
}

/// A shared reporter, or none.
///
/// The default is [`TracingReporter`](crate::report::TracingReporter) with the feature `tracing`, and
/// none without it.
///
/// # Clone
///
/// Cheap; clones share the reporter and the count of its panics.
#[derive(Clone)]
pub struct ReporterHandle(Option<Arc<Shared<dyn Reporter>>>);

struct Shared<R: ?Sized> {
    panics: AtomicU64,
    reporter: R,
}

impl ReporterHandle {
    /// Wraps `reporter`; a handle is passed through as it is.
    pub fn new(reporter: impl Reporter) -> Self {
        reporter.into_handle()
    }

    fn wrap(reporter: impl Reporter) -> Self {
        let panics = AtomicU64::new(0);
        Self(Some(Arc::new(Shared { panics, reporter })))
    }

    /// Creates a handle without a reporter: events are dropped.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Returns whether the handle has no reporter. An event then need not be created.
    pub const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Passes `event` to the reporter; a panic of the reporter is caught and counted.
    pub fn report(&self, event: &Event) {
        let Some(shared) = &self.0 else { return };
        let done = catch_unwind(AssertUnwindSafe(|| shared.reporter.report(event)));
        let Err(payload) = done else { return };
        shared.panics.fetch_add(1, Ordering::Relaxed);
        // The payload may panic again when it is dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
    }

    /// Returns the number of panics of the reporter.
    pub fn panics(&self) -> u64 {
        let shared = self.0.as_ref();
        shared.map_or(0, |shared| shared.panics.load(Ordering::Relaxed))
    }
}

impl Reporter for ReporterHandle {
    fn report(&self, event: &Event) {
        self.report(event);
    }

    fn into_handle(self) -> ReporterHandle {
        self
    }
}

impl fmt::Debug for ReporterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReporterHandle")
            .field("is_none", &self.is_none())
            .field("panics", &self.panics())
            .finish()
    }
}
