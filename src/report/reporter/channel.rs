//! A reporter that sends events through a bounded channel.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{Semaphore, mpsc};

use super::reporter::Reporter;
use crate::report::Event;

/// Creates a reporter and the receiver of its events, with room for `n` events between them.
///
/// 1. An event that finds the channel full is dropped and counted. Reporting never blocks.
/// 2. An `n` of 0 is treated as 1.
/// 3. Neither end needs a tokio runtime.
///
/// ```
/// use tower_failover::report::channel;
///
/// let (reporter, mut events) = channel(64);
/// assert!(events.try_recv().is_none());
/// assert_eq!(reporter.dropped(), 0);
/// ```
pub fn channel(n: usize) -> (ChannelReporter, EventReceiver) {
    // tokio panics above this number.
    let (sender, receiver) = mpsc::channel(n.clamp(1, Semaphore::MAX_PERMITS));
    let dropped = Arc::new(AtomicU64::new(0));
    let reporter = ChannelReporter { sender, dropped: Arc::clone(&dropped) };
    (reporter, EventReceiver { receiver, dropped })
}

/// The reporter of a [`channel`], which sends events to an [`EventReceiver`].
///
/// # Clone
///
/// Clones send to the same receiver and share the count of dropped events.
#[derive(Clone, Debug)]
pub struct ChannelReporter {
    sender: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl ChannelReporter {
    /// Returns the number of events dropped because the channel was full or closed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Reporter for ChannelReporter {
    fn report(&self, event: &Event) {
        // Reserved first: an event that is dropped is not cloned.
        match self.sender.try_reserve() {
            Ok(place) => place.send(event.clone()),
            Err(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The receiver of a [`channel`].
///
/// After it is dropped, further events are dropped and counted.
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// Waits for the next event. None when all reporters of the channel are dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// Returns the next event if there is one.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// Returns the number of events dropped because the channel was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
