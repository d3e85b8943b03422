//! The one task that waits for the ends of windows.

use std::pin::Pin;

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, Sleep, sleep_until},
};

use crate::clock;

/// The state of the task, as the reporting side knows it.
#[derive(Debug, Default)]
pub(crate) enum Timer {
    /// There is no task.
    #[default]
    Idle,
    /// A report is starting it.
    Starting,
    /// It runs, unless its runtime has ended.
    Running(AbortHandle),
    /// No timer was found. The next search is at this time at the earliest.
    Missing(Instant),
}

impl Timer {
    /// Returns whether a task should be started.
    pub(crate) fn is_wanted(&self, now: Instant) -> bool {
        match self {
            Self::Idle => true,
            Self::Starting => false,
            // The task ends with its runtime.
            Self::Running(task) => task.is_finished(),
            Self::Missing(until) => *until <= now,
        }
    }

    /// Ends the task.
    pub(crate) fn stop(&mut self) {
        if let Self::Running(task) = std::mem::take(self) {
            task.abort();
        }
    }
}

/// The runtime and the timer of a task that is not started yet.
pub(crate) struct Wait {
    runtime: Handle,
    sleep: Pin<Box<Sleep>>,
}

/// The result of a search for a runtime and a timer.
pub(crate) enum Found {
    Wait(Wait),
    /// Not inside a runtime. The next report may be inside one.
    NoRuntime,
    /// Inside a runtime without a timer.
    NoTimer,
}

/// Looks for a runtime, and for a timer that waits until `first`.
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
    fn missing_timer_is_looked_for_again_when_the_time_is_up() {
        let until = Instant::now();
        let timer = Timer::Missing(until);
        assert!(!timer.is_wanted(until - Duration::from_nanos(1)));
        assert!(timer.is_wanted(until));
        assert!(timer.is_wanted(until + Duration::from_nanos(1)));
        assert!(!Timer::Starting.is_wanted(until));
        assert!(Timer::Idle.is_wanted(until));
    }
}
