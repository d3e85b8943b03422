//! The clocks and the timer: a monotonic clock that tests can pause, the wall clock that dates are
//! compared with, and the one place that looks for a timer.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The monotonic clock, read at most once, when it is first needed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now(Option<Instant>);

impl Now {
    /// A reading that is taken when it is first needed.
    pub(crate) const fn unread() -> Self {
        Self(None)
    }

    /// A reading that was taken before.
    pub(crate) const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// Returns the reading.
    pub(crate) fn get(&mut self) -> Instant {
        *self.0.get_or_insert_with(Instant::now)
    }
}

/// A time that doubles with each failure in a row, up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubling {
    first: Duration,
    max: Duration,
}

impl Doubling {
    /// Starts at `first` and never exceeds `max`.
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max }
    }

    /// Returns the time after `failures` earlier failures: `first`, doubled that often, at most `max`.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// The timer of the runtime, and whether it is missing.
///
/// A layer and a pool have one each, which their clones share. A runtime does not say whether it has a
/// timer, and tokio panics when it has none: the first wait in a runtime without `enable_time` catches
/// that panic, and the answer holds for a minute. It is not kept for ever, since one value may be used
/// in several runtimes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timer {
    /// The milliseconds since [`START`] before which no timer is looked for. It stands alone:
    /// `Relaxed` is enough.
    missing_until: Arc<AtomicU64>,
}

/// The time after which a timer that was missing is looked for again.
const MISSING: Duration = Duration::from_secs(60);

/// The first time at which a timer was missing.
static START: OnceLock<Instant> = OnceLock::new();

/// A wait that has a timer.
#[derive(Debug)]
pub(crate) struct Sleep(Pin<Box<tokio::time::Sleep>>);

impl Timer {
    /// A timer that was not tried yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns a wait of this length; `None` outside a tokio runtime, or in one without a timer.
    pub(crate) fn sleep(&self, wait: Duration) -> Option<Sleep> {
        self.try_timer(|| tokio::time::sleep(wait))
    }

    /// Returns a wait until this time; `None` outside a tokio runtime, or in one without a timer.
    pub(crate) fn sleep_until(&self, until: Instant) -> Option<Sleep> {
        self.try_timer(|| tokio::time::sleep_until(until))
    }

    fn try_timer(&self, wait: impl FnOnce() -> tokio::time::Sleep) -> Option<Sleep> {
        // Outside a runtime nothing is learned about the timer of one.
        tokio::runtime::Handle::try_current().ok()?;
        let missing_until = self.missing_until.load(Ordering::Relaxed);
        if missing_until > 0 && since_start() < missing_until {
            return None;
        }
        let sleep = catch_unwind(AssertUnwindSafe(|| Sleep(Box::pin(wait())))).ok();
        if sleep.is_none() {
            let millis = u64::try_from(MISSING.as_millis()).unwrap_or(u64::MAX);
            let until = since_start().saturating_add(millis);
            self.missing_until.store(until, Ordering::Relaxed);
        }
        sleep
    }
}

/// Returns the milliseconds since a timer was first missing.
fn since_start() -> u64 {
    let start = *START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Returns a wait, looking for the timer anew: for coalescing, which keeps the answer for a window.
pub(crate) fn timer(
    wait: impl FnOnce() -> tokio::time::Sleep,
) -> Option<Pin<Box<tokio::time::Sleep>>> {
    Timer::new().try_timer(wait).map(|sleep| sleep.0)
}

/// Reads the wall clock: only for the dates of others (`Retry-After`), never to measure.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(time: bool, f: impl FnOnce() -> T) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let builder = if time { builder.enable_time() } else { &mut builder };
        builder.build().unwrap().block_on(async { f() })
    }

    #[test]
    fn timer_is_looked_for_once_a_minute_in_a_runtime_without_one() {
        let timer = Timer::new();
        let missing = || timer.missing_until.load(Ordering::Relaxed) > 0;
        assert!(timer.sleep(Duration::ZERO).is_none());
        assert!(!missing(), "outside a runtime nothing is learned");
        assert!(in_runtime(true, || timer.sleep(Duration::ZERO)).is_some());
        assert!(in_runtime(false, || timer.clone().sleep(Duration::ZERO)).is_none());
        assert!(missing(), "a clone shares the answer");
        // The answer holds: tokio is not asked again.
        let asked = std::cell::Cell::new(false);
        let wait = || {
            asked.set(true);
            tokio::time::sleep(Duration::ZERO)
        };
        assert!(in_runtime(true, || timer.try_timer(wait)).is_none());
        assert!(!asked.get());
        // After a minute it is looked for again, and found where there is one.
        timer.missing_until.store(since_start(), Ordering::Relaxed);
        assert!(in_runtime(true, || timer.sleep(Duration::ZERO)).is_some());
    }

    #[test]
    fn doubling_starts_at_first_and_stops_at_max() {
        let secs = Duration::from_secs;
        let times = Doubling::new(secs(1), secs(60));
        let got = [0, 1, 5, 6, 31, 32, u32::MAX].map(|failures| times.after(failures));
        assert_eq!(got, [1, 2, 32, 60, 60, 60, 60].map(secs));
        assert_eq!(Doubling::new(secs(9), secs(3)).after(0), secs(3));
    }
}
