//! Which windows are open, and what they hold back: no clock, no lock, no reporter.

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
    /// All windows are equally long: the first to be opened is the first to end.
    ends: VecDeque<(Instant, Arc<Fingerprint>)>,
    /// How many windows hold something back.
    holding: usize,
}

/// What one window holds back.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    last: Option<Box<Event>>,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is told at once.
    Tell,
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

    /// How many windows are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Decides about an event. What [has ended](Self::end) by `now` must have been taken before.
    pub(crate) fn report(&mut self, fingerprint: Fingerprint, event: &Event, now: Instant) -> Fate {
        if let Some(held) = self.open.get_mut(&fingerprint) {
            if held.count == 0 {
                self.holding += 1;
            }
            held.count = held.count.saturating_add(1);
            held.last = Some(Box::new(event.clone()));
            return Fate::HeldBack;
        }
        // A window that would end after all time is not opened.
        if let (true, Some(end)) = (self.open.len() < self.capacity, now.checked_add(self.length)) {
            let fingerprint = Arc::new(fingerprint);
            self.ends.push_back((end, Arc::clone(&fingerprint)));
            self.open.insert(fingerprint, Held::default());
        }
        Fate::Tell
    }

    /// Closes the windows that have ended by `now`, and says what they held back.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<Event> {
        let mut said = Vec::new();
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            said.extend(self.close_first());
        }
        said
    }

    /// Closes all windows, and says what they held back.
    pub(crate) fn end_all(&mut self) -> Vec<Event> {
        let mut said = Vec::new();
        while !self.ends.is_empty() {
            said.extend(self.close_first());
        }
        said
    }

    /// When the next window ends; `None` when no window holds anything back.
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
