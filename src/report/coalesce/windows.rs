//! The open windows and the events they hold back. Pure: no clock, no lock, no reporter.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::fingerprint::Fingerprint;
use crate::report::{Coalesced, Event};

/// The open windows, at most `capacity` of them.
#[derive(Debug)]
pub(crate) struct Windows {
    length: Duration,
    capacity: usize,
    open: HashMap<Arc<Fingerprint>, Held>,
    /// The ends, in order: all windows are equally long.
    ends: VecDeque<(Instant, Arc<Fingerprint>)>,
    /// The number of windows that hold events back.
    holding: usize,
}

/// The events that one window holds back.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    last: Option<Box<Event>>,
}

/// The decision about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is reported at once.
    Report,
    /// It was counted.
    HeldBack,
}

impl Windows {
    pub(crate) fn new(length: Duration, capacity: usize) -> Self {
        Self { length, capacity, open: HashMap::new(), ends: VecDeque::new(), holding: 0 }
    }

    pub(crate) const fn length(&self) -> Duration {
        self.length
    }

    /// Returns the number of open windows.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Decides about an event. [`end`](Self::end) must have been called with `now` before.
    pub(crate) fn report(&mut self, fingerprint: Fingerprint, event: &Event, now: Instant) -> Fate {
        if let Some(held) = self.open.get_mut(&fingerprint) {
            if held.count == 0 {
                self.holding += 1;
            }
            held.count = held.count.saturating_add(1);
            held.last = Some(Box::new(event.clone()));
            return Fate::HeldBack;
        }
        // No window is opened if its end cannot be represented.
        if let (true, Some(end)) = (self.open.len() < self.capacity, now.checked_add(self.length)) {
            let fingerprint = Arc::new(fingerprint);
            self.ends.push_back((end, Arc::clone(&fingerprint)));
            self.open.insert(fingerprint, Held::default());
        }
        Fate::Report
    }

    /// Closes the windows that have ended by `now`, and returns their counts.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<Event> {
        let mut counts = Vec::new();
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            counts.extend(self.close_first());
        }
        counts
    }

    /// Closes all windows, and returns their counts.
    pub(crate) fn end_all(&mut self) -> Vec<Event> {
        let mut counts = Vec::new();
        while !self.ends.is_empty() {
            counts.extend(self.close_first());
        }
        counts
    }

    /// Returns the end of the next window; `None` if no window holds an event back.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let (end, _) = self.ends.front()?;
        (self.holding > 0).then_some(*end)
    }

    fn close_first(&mut self) -> Option<Event> {
        let (_, fingerprint) = self.ends.pop_front()?;
        let held = self.open.remove(&fingerprint)?;
        let last = held.last?;
        self.holding = self.holding.saturating_sub(1);
        Some(Event::Coalesced(Coalesced { last, held_back: held.count, window: self.length }))
    }
}

#[cfg(test)]
mod tests;
