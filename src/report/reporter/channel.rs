//! Events through a bounded channel.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{Semaphore, mpsc};

use super::reporter::Reporter;
use crate::report::Event;

/// Makes a reporter whose events come out at the other end, at most `n` of them waiting there.
///
/// 1. An event that finds the channel full is dropped and counted: nobody waits for a reader.
/// 2. `n` of 0 is taken for 1.
/// 3. Neither end needs a runtime, but [`EventReceiver::recv`] must be awaited somewhere.
///
/// ```
/// use tower_failover::report::channel;
///
/// let (reporter, mut events) = channel(64);
/// assert!(events.try_recv().is_none());
/// assert_eq!(reporter.dropped(), 0);
/// ```
pub fn channel(n: usize) -> (ChannelReporter, EventReceiver) {
    // Above this many, tokio panics.
    let (sender, receiver) = mpsc::channel(n.clamp(1, Semaphore::MAX_PERMITS));
    let dropped = Arc::new(AtomicU64::new(0));
    let reporter = ChannelReporter { sender, dropped: Arc::clone(&dropped) };
    (reporter, EventReceiver { receiver, dropped })
}

/// Sends events to an [`EventReceiver`]; made by [`channel`].
///
/// # Clone
///
/// Clones send to the same receiver, and share the count.
#[derive(Clone, Debug)]
pub struct ChannelReporter {
    sender: mpsc::Sender<Event>,
    dropped: Arc<AtomicU64>,
}

impl ChannelReporter {
    /// How many events were dropped: the channel was full, or its receiver gone.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Reporter for ChannelReporter {
    fn report(&self, event: &Event) {
        // The place first: an event that nobody will get is not copied.
        match self.sender.try_reserve() {
            Ok(place) => place.send(event.clone()),
            Err(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Where the events of a [`ChannelReporter`] come out.
///
/// Dropping it harms nobody: later events are dropped and counted.
#[derive(Debug)]
pub struct EventReceiver {
    receiver: mpsc::Receiver<Event>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// The next event, or `None` when no reporter is left to send one.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, no event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// The next event, when there is one already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }

    /// How many events were dropped, because they found the channel full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
