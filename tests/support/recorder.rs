//! A reporter that records events.

#![allow(dead_code)] // Not every test uses everything.

use std::sync::{Arc, Mutex, PoisonError};

use tower_failover::{Event, Reporter, report::RequestRecord};

/// Records every event; clones share the record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns all events, oldest first.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the requests that failed.
    pub(crate) fn failures(&self) -> Vec<RequestRecord> {
        self.records(Event::is_failure)
    }

    /// Returns the requests that succeeded after failed attempts.
    pub(crate) fn recovered(&self) -> Vec<RequestRecord> {
        self.records(|event| matches!(event, Event::RequestRecovered(_)))
    }

    /// Returns the requests that were dropped after a failed attempt.
    pub(crate) fn abandoned(&self) -> Vec<RequestRecord> {
        self.records(|event| matches!(event, Event::RequestAbandoned(_)))
    }

    /// Returns the events of accounts and pools.
    pub(crate) fn incidents(&self) -> Vec<Event> {
        let mut events = self.events();
        events.retain(Event::is_incident);
        events
    }

    /// Returns the code of every event, oldest first.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.events().iter().map(Event::code).collect()
    }

    /// Clears the record.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn records(&self, wanted: impl Fn(&Event) -> bool) -> Vec<RequestRecord> {
        let events = self.events();
        let events = events.iter().filter(|event| wanted(event));
        events.filter_map(Event::record).cloned().collect()
    }
}

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
