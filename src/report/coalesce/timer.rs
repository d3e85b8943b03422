//! The one task that waits for the ends of windows.

use std::pin::Pin;

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, Sleep, sleep_until},
};

use crate::clock;

/// The task, as far as reports know of it.
#[derive(Debug, Default)]
pub(crate) enum Timer {
    /// There is none.
    #[default]
    Idle,
    /// Somebody is starting it.
    Starting,
    /// It waits, unless its runtime has ended.
    Running(AbortHandle),
    /// Nothing to wait with was found; nobody looks again until then.
    Missing(Instant),
}

impl Timer {
    /// Whether a task should be started.
    pub(crate) fn is_wanted(&self, now: Instant) -> bool {
        match self {
            Self::Idle => true,
            Self::Starting => false,
            // A runtime that shuts down takes the task with it.
            Self::Running(task) => task.is_finished(),
            Self::Missing(until) => *until <= now,
        }
    }

    /// Ends the task: what it waits for was told.
    pub(crate) fn stop(&mut self) {
        if let Self::Running(task) = std::mem::take(self) {
            task.abort();
        }
    }
}

/// What a task needs before it can be started.
pub(crate) struct Wait {
    runtime: Handle,
    sleep: Pin<Box<Sleep>>,
}

/// What there is to wait with.
pub(crate) enum Found {
    Wait(Wait),
    /// Not inside a runtime: whoever reports next may be.
    NoRuntime,
    /// Inside a runtime without a timer.
    NoTimer,
}

/// Looks for something to wait with until `first`.
pub(crate) fn find(first: Instant) -> Found {
    let Ok(runtime) = Handle::try_current() else { return Found::NoRuntime };
    match clock::timer(|| sleep_until(first)) {
        Some(sleep) => Found::Wait(Wait { runtime, sleep }),
        None => Found::NoTimer,
    }
}

impl Wait {
    /// Starts the task. At the end of each wait it calls `wake`, which returns the end of the next
    /// one, or `None` to end the task.
    pub(crate) fn start(self, wake: impl FnMut() -> Option<Instant> + Send + 'static) -> Timer {
        Timer::Running(self.runtime.spawn(run(self.sleep, wake)).abort_handle())
    }
}

async fn run(mut sleep: Pin<Box<Sleep>>, mut wake: impl FnMut() -> Option<Instant>) {
    loop {
        sleep.as_mut().await;
        let Some(next) = wake() else { return };
        sleep.as_mut().reset(next);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn where_no_timer_was_found_nobody_looks_until_the_time_is_up() {
        let until = Instant::now();
        let timer = Timer::Missing(until);
        assert!(!timer.is_wanted(until - Duration::from_nanos(1)));
        assert!(timer.is_wanted(until));
        assert!(timer.is_wanted(until + Duration::from_nanos(1)));
        assert!(!Timer::Starting.is_wanted(until));
        assert!(Timer::Idle.is_wanted(until));
    }
}
