//! The reporter that holds similar failures back.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    fingerprint::Fingerprint,
    timer::{self, Found, Timer},
    windows::{Fate, Windows},
};
use crate::report::{Event, Reporter, ReporterHandle};

/// The default limit of remembered fingerprints.
const CAPACITY: usize = 1024;
/// The upper bound of that limit: each fingerprint may keep an event.
const MAX_CAPACITY: usize = 65_536;
/// The longest window.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// A reporter that passes on the first of many similar events, and then the number of the others.
///
/// 1. The first event of a fingerprint is reported at once and opens a window. Further events with
///    that fingerprint are held back and counted while the window is open.
/// 2. At the end of the window, one [`Event::Coalesced`] reports the number of events held back, with
///    the last of them inside. Nothing is reported if there were none. The next event of the
///    fingerprint is then reported at once again.
/// 3. [Incidents](Event::is_incident) are never held back, nor are the counts of another `Coalesce`.
/// 4. Dropping the last clone, or [`flush`](Self::flush), also reports the events held back. Each event
///    is reported or counted exactly once.
///
/// # Fingerprint
///
/// Two events are similar if their causes are the same, whatever their texts. These must be equal:
///
/// 1. the event's [code](Event::code), and whether anything was [sent](crate::report::RequestRecord::sent);
/// 2. the request's method;
/// 3. its [label](crate::report::RequestRecord::label); without one, the first segment of its path that is
///    not a version (`videos` of `/v1/videos/42`). Requests whose paths start with an id need a
///    label to be similar;
/// 4. the outcome: the status, an error, the code of the local answer, or dropped;
/// 5. the verdict's code, the account and the model of the last failed attempt.
///
/// # Memory
///
/// At most 1024 fingerprints are remembered ([`with_capacity`](Self::with_capacity) changes this), each
/// with at most one event. Beyond that, events are reported at once and open no window.
///
/// # Runtime
///
/// One tokio task waits for the ends of all windows. The first event that is held back starts it, on
/// the runtime of the reporting task, and it ends when nothing is held back. Without a runtime, without
/// a timer, or in a runtime that no longer runs, a count is reported with the next event after the
/// window's end, whatever its fingerprint, and on drop.
///
/// # Clone
///
/// Clones share the windows.
///
/// ```
/// use std::time::Duration;
///
/// use http::{Method, StatusCode};
/// use tower_failover::{report::{Coalesce, Outcome, RequestRecord, channel}, Event, Reporter};
///
/// let (reporter, mut events) = channel(64);
/// let coalesce = Coalesce::new(reporter, Duration::from_secs(60))?;
///
/// for id in 1..=1000 {
///     let outcome = Outcome::Answer(StatusCode::BAD_GATEWAY);
///     let record = RequestRecord::new(Method::GET, format!("/videos/{id}"), outcome);
///     coalesce.report(&Event::RequestFailed(record));
/// }
/// drop(coalesce); // reports the count, as the end of the minute does
///
/// let first = events.try_recv().expect("reported at once");
/// assert_eq!(first.code(), "request_failed");
/// let Some(Event::Coalesced(rest)) = events.try_recv() else { panic!("the others are counted") };
/// assert_eq!(rest.held_back, 999);
/// assert_eq!(&*rest.last.record().expect("of a request").path, "/videos/1000");
/// assert!(events.try_recv().is_none());
/// # Ok::<(), tower_failover::report::CoalesceError>(())
/// ```
#[derive(Clone)]
pub struct Coalesce(Arc<Flush>);

/// The error of settings with which a [`Coalesce`] cannot be built.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::report::{Coalesce, CoalesceError, ReporterHandle};
///
/// let endless = Coalesce::new(ReporterHandle::none(), Duration::from_secs(100_000));
/// assert_eq!(endless.err(), Some(CoalesceError::WindowTooLong));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoalesceError {
    /// The window is zero.
    #[error("the window of `coalesce` is zero: give it a longer one")]
    ZeroWindow,
    /// The window is longer than a day.
    #[error("the window of `coalesce` is longer than 24 h: give it a shorter one")]
    WindowTooLong,
    /// The capacity is zero.
    #[error("the capacity of `Coalesce` is zero: raise it")]
    ZeroCapacity,
    /// The capacity is above 65,536.
    #[error("the capacity of `Coalesce` is above 65536: lower it")]
    CapacityTooLarge,
}

/// The state that clones and the task share.
#[derive(Debug)]
struct Core {
    reporter: ReporterHandle,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    windows: Windows,
    timer: Timer,
}

/// The owner of the shared state, which reports the events held back when it is dropped. All clones
/// share it; the task does not.
struct Flush(Arc<Core>);

impl Coalesce {
    /// Creates a reporter that holds similar events back from `reporter` for `window`.
    ///
    /// # Errors
    ///
    /// If the window is zero or longer than 24 h.
    pub fn new(reporter: impl Reporter, window: Duration) -> Result<Self, CoalesceError> {
        Self::with_capacity(reporter, window, CAPACITY)
    }

    /// Like [`new`](Self::new), remembering at most `capacity` fingerprints.
    ///
    /// # Errors
    ///
    /// If the window is zero or longer than 24 h, or the capacity is zero or above 65,536.
    pub fn with_capacity(
        reporter: impl Reporter,
        window: Duration,
        capacity: usize,
    ) -> Result<Self, CoalesceError> {
        match (window, capacity) {
            (Duration::ZERO, _) => Err(CoalesceError::ZeroWindow),
            (window, _) if window > MAX_WINDOW => Err(CoalesceError::WindowTooLong),
            (_, 0) => Err(CoalesceError::ZeroCapacity),
            (_, capacity) if capacity > MAX_CAPACITY => Err(CoalesceError::CapacityTooLarge),
            _ => {
                let windows = Windows::new(window, capacity);
                let state = Mutex::new(State { windows, timer: Timer::default() });
                Ok(Self(Arc::new(Flush(Arc::new(Core {
                    reporter: reporter.into_handle(),
                    state,
                })))))
            }
        }
    }

    /// Wraps the reporter of a layer. A handle without a reporter stays one.
    pub(crate) fn handle(
        reporter: ReporterHandle,
        window: Duration,
    ) -> Result<ReporterHandle, CoalesceError> {
        let is_none = reporter.is_none();
        let coalesce = Self::new(reporter, window)?;
        Ok(if is_none { ReporterHandle::none() } else { coalesce.into_handle() })
    }

    /// Ends all windows and reports the events held back, for a shutdown that does not drop the
    /// reporter.
    pub fn flush(&self) {
        self.0.0.flush();
    }
}

impl Reporter for Coalesce {
    fn report(&self, event: &Event) {
        self.0.0.report(event);
    }
}

impl fmt::Debug for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.0.0;
        let window = core.lock().windows.length();
        f.debug_struct("Coalesce")
            .field("reporter", &core.reporter)
            .field("window", &window)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Locks the state. No foreign code (reporter, panic hook) runs while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(self: &Arc<Self>, event: &Event) {
        let fingerprint = Fingerprint::of(event);
        let mut state = self.lock();
        // Read under the lock, so that windows end in the order in which they were opened.
        let now = Instant::now();
        let ended = state.windows.end(now);
        let fate = match fingerprint {
            Some(fingerprint) => state.windows.report(fingerprint, event, now),
            None => Fate::Report,
        };
        let start = match (fate, state.windows.wake_at()) {
            (Fate::HeldBack, Some(first)) if state.timer.is_wanted(now) => {
                state.timer = Timer::Starting;
                Some(first)
            }
            _ => None,
        };
        drop(state);
        if let Some(first) = start {
            self.start(first, now);
        }
        self.report_all(&ended);
        if fate == Fate::Report {
            self.reporter.report(event);
        }
    }

    fn start(self: &Arc<Self>, first: Instant, now: Instant) {
        let found = timer::find(first);
        let mut state = self.lock();
        // The lock keeps the task from ending before it is stored.
        state.timer = match found {
            Found::Wait(wait) => {
                // The task does not keep the adapter alive: the last handle can be dropped.
                let core = Arc::downgrade(self);
                wait.start(move || core.upgrade().and_then(|core| core.wake()))
            }
            Found::NoRuntime => Timer::Idle,
            // A failed search is a caught panic that the panic hook prints: at most one a window.
            Found::NoTimer => Timer::Missing(now + state.windows.length()),
        };
    }

    /// Reports the counts of ended windows. Returns the end of the next window, or `None` if nothing is
    /// held back.
    fn wake(&self) -> Option<Instant> {
        let mut state = self.lock();
        let ended = state.windows.end(Instant::now());
        drop(state);
        self.report_all(&ended);
        // Read after reporting, since a reporter may report through this adapter meanwhile.
        let mut state = self.lock();
        let next = state.windows.wake_at();
        if next.is_none() {
            state.timer = Timer::Idle;
        }
        next
    }

    fn flush(&self) {
        let ended = self.lock().windows.end_all();
        self.report_all(&ended);
    }

    fn report_all(&self, events: &[Event]) {
        for event in events {
            self.reporter.report(event);
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.lock().timer.stop();
        self.0.flush();
    }
}

#[cfg(test)]
mod tests;
