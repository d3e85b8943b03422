//! The reporter that holds back.

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

/// How many fingerprints are remembered when nothing else is said.
const CAPACITY: usize = 1024;
/// The most fingerprints that may be remembered: each may keep an event.
const MAX_CAPACITY: usize = 65_536;
/// The longest window: what is held back longer is not news any more.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells the first of many like events, and then how many more there were.
///
/// 1. The first event of a fingerprint is told at once, and opens a window. Those that follow in the
///    window are held back and counted.
/// 2. At the end of the window, one [`Event::Coalesced`] tells how many were held back, with the
///    last of them inside; nothing when there were none. The next event of the fingerprint is told
///    at once again.
/// 3. [Incidents](Event::is_incident) are never held back, nor are the counts of another `Coalesce`.
/// 4. What is held back is told when the last clone is dropped, too, or by [`flush`](Self::flush).
///    Every event is told or counted exactly once.
///
/// # Fingerprint
///
/// Two events are alike when their causes are, whatever their texts say. These must be equal:
///
/// 1. the event's [code](Event::code), and whether anything was [sent](crate::report::RequestRecord::sent);
/// 2. the request's method;
/// 3. its [label](crate::report::RequestRecord::label); without one, the first segment of its path that is
///    not a version (`videos` of `/v1/videos/42`). Requests whose paths start with an id need a
///    label to be alike;
/// 4. how it ended: with which status, with an error, with which local answer, dropped;
/// 5. the verdict's word, the account and the model of the last failed attempt.
///
/// # Memory
///
/// At most 1024 fingerprints are remembered ([`with_capacity`](Self::with_capacity)), each with one
/// event at most. An event that finds no room is told at once, and opens no window.
///
/// # Runtime
///
/// The ends of all windows are waited for by one tokio task. The first event that is held back
/// starts it, on the runtime of whoever reports; it ends when nothing is held back any more. Where
/// there is no runtime, one without a timer, or one that nobody drives any more, a count is told by
/// the next event after the window's end, whatever its fingerprint, and on drop.
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
/// drop(coalesce); // or: the minute is over
///
/// let first = events.try_recv().expect("told at once");
/// assert_eq!(first.code(), "request_failed");
/// let Some(Event::Coalesced(rest)) = events.try_recv() else { panic!("the rest is counted") };
/// assert_eq!(rest.held_back, 999);
/// assert_eq!(&*rest.last.record().expect("of a request").path, "/videos/1000");
/// assert!(events.try_recv().is_none());
/// # Ok::<(), tower_failover::report::CoalesceError>(())
/// ```
#[derive(Clone)]
pub struct Coalesce(Arc<Flush>);

/// Why a [`Coalesce`] cannot be built.
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
    /// The window is over before it begins.
    #[error("a window of no length holds nothing back: give `coalesce` a longer one")]
    ZeroWindow,
    /// The window is longer than a day.
    #[error("a window may last 24 h at most: what is held back longer is no news")]
    WindowTooLong,
    /// Not a single fingerprint may be remembered.
    #[error("nothing can be held back without a fingerprint to know it by: raise the capacity")]
    ZeroCapacity,
    /// More fingerprints than are sensible.
    #[error("at most 65536 fingerprints can be remembered: lower the capacity")]
    CapacityTooLarge,
}

/// What reports and the task share.
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

/// Tells what is held back when it is dropped. All clones share it, and the task has no part in it.
struct Flush(Arc<Core>);

impl Coalesce {
    /// Holds back from this reporter what is like an event of the last `window`.
    ///
    /// # Errors
    ///
    /// When the window is zero or longer than 24 h.
    pub fn new(reporter: impl Reporter, window: Duration) -> Result<Self, CoalesceError> {
        Self::with_capacity(reporter, window, CAPACITY)
    }

    /// The same, and at most `capacity` fingerprints are remembered.
    ///
    /// # Errors
    ///
    /// When the window is zero or longer than 24 h, or the capacity is zero or above 65,536.
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

    /// The handle that layers hold: nobody is told by it when nobody was before.
    pub(crate) fn handle(
        reporter: ReporterHandle,
        window: Duration,
    ) -> Result<ReporterHandle, CoalesceError> {
        let nobody = reporter.is_none();
        let coalesce = Self::new(reporter, window)?;
        Ok(if nobody { ReporterHandle::none() } else { coalesce.into_handle() })
    }

    /// Ends all windows now, and tells what they held back: for a shutdown that drops nothing.
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
    /// Nothing of a stranger runs while the lock is held: no reporter, no panic hook.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(self: &Arc<Self>, event: &Event) {
        let fingerprint = Fingerprint::of(event);
        let mut state = self.lock();
        // Read under the lock: windows end in the order in which they were opened.
        let now = Instant::now();
        let ended = state.windows.end(now);
        let fate = match fingerprint {
            Some(fingerprint) => state.windows.report(fingerprint, event, now),
            None => Fate::Tell,
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
        self.tell(&ended);
        if fate == Fate::Tell {
            self.reporter.report(event);
        }
    }

    fn start(self: &Arc<Self>, first: Instant, now: Instant) {
        let found = timer::find(first);
        let mut state = self.lock();
        // The lock keeps the task from ending before it is known.
        state.timer = match found {
            Found::Wait(wait) => {
                // The task does not keep the adapter alive: the last handle can be dropped.
                let core = Arc::downgrade(self);
                wait.start(move || core.upgrade().and_then(|core| core.wake()))
            }
            Found::NoRuntime => Timer::Idle,
            // Looking in vain is a caught panic, and the panic hook prints it: once a window is
            // enough.
            Found::NoTimer => Timer::Missing(now + state.windows.length()),
        };
    }

    /// Tells what has ended; when to come again, or `None` when nothing is held back.
    fn wake(&self) -> Option<Instant> {
        let mut state = self.lock();
        let ended = state.windows.end(Instant::now());
        drop(state);
        self.tell(&ended);
        // Asked for only now: a reporter may have reported, and a task that waits is still one.
        let mut state = self.lock();
        let next = state.windows.wake_at();
        if next.is_none() {
            state.timer = Timer::Idle;
        }
        next
    }

    fn flush(&self) {
        let ended = self.lock().windows.end_all();
        self.tell(&ended);
    }

    fn tell(&self, events: &[Event]) {
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
