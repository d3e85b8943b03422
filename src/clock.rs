//! The two clocks: a monotonic one that tests can pause, and the wall clock that dates are held against.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The monotonic clock, read at most once, and only by whoever needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Now(Option<Instant>);

impl Now {
    /// A reading that is taken when it is first asked for.
    pub(crate) const fn unread() -> Self {
        Self(None)
    }

    /// A reading that somebody has taken already.
    pub(crate) const fn at(instant: Instant) -> Self {
        Self(Some(instant))
    }

    /// The reading.
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

/// This wait; `None` outside a tokio runtime, or in one without its timer.
pub(crate) fn timer(
    wait: impl FnOnce() -> tokio::time::Sleep,
) -> Option<Pin<Box<tokio::time::Sleep>>> {
    tokio::runtime::Handle::try_current().ok()?;
    // A runtime does not say whether it has a timer: it panics when it has none.
    catch_unwind(AssertUnwindSafe(|| Box::pin(wait()))).ok()
}

/// A wait that has a timer.
#[derive(Debug)]
pub(crate) struct Sleep(Pin<Box<tokio::time::Sleep>>);

/// A wait of this length; `None` outside a tokio runtime, or in one without its timer.
pub(crate) fn sleep(wait: Duration) -> Option<Sleep> {
    timer(|| tokio::time::sleep(wait)).map(Sleep)
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// What the wall clock says. Only for the dates of others (`Retry-After`), never to measure.
#[allow(clippy::disallowed_methods)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_starts_at_first_and_stops_at_max() {
        let secs = Duration::from_secs;
        let times = Doubling::new(secs(1), secs(60));
        let got = [0, 1, 5, 6, 31, 32, u32::MAX].map(|failures| times.after(failures));
        assert_eq!(got, [1, 2, 32, 60, 60, 60, 60].map(secs));
        assert_eq!(Doubling::new(secs(9), secs(3)).after(0), secs(3));
    }
}
