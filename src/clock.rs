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
