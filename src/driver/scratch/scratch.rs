//! The data of one request, in memory that is wiped and used again.
//!
//! Most of it stays empty for most requests. Inside the future it would be moved whenever the future is.

use std::{
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use tokio::time::Instant;

use super::head::Snapshot;
use crate::{
    driver::handoff::Handoff,
    report::NotResent,
    stage::{Ledger, Model, RequestOptions},
};

/// At most this many buffers are kept for each thread.
const MOST_RECYCLED: usize = 64;

thread_local! {
    #[allow(clippy::vec_box)] // The boxes are used again.
    static RECYCLED: RefCell<Vec<Box<RequestData>>> = const { RefCell::new(Vec::new()) };
}

/// The data of a request, in a recycled box.
pub(crate) struct Scratch(Option<Box<RequestData>>);

/// The contents of a [`Scratch`].
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Independent facts.
pub(crate) struct RequestData {
    /// The parts of the caller's request head that are needed later.
    pub(crate) snapshot: Snapshot,
    /// Why the request cannot be sent again, whatever happens.
    pub(crate) barred: Option<NotResent>,
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) options: Option<RequestOptions>,
    pub(crate) started: Option<Instant>,
    /// Whether `started` was read by this driver, and the request has not waited since.
    pub(crate) just_started: bool,
    /// The model that the caller's request names, once it was read.
    pub(crate) model: Model,
    /// The credential and the model that outer layers have put on the request.
    pub(crate) handoff: Handoff,
    /// The send of the driver above that this request is part of; 0 for none.
    pub(crate) parent: u32,
    /// The send in flight; 0 where drivers below have no handle.
    pub(crate) send: u32,
    /// Whether a layer outside reports this request.
    pub(crate) reported: bool,
    /// Whether the caller put a credential on the request; set where no snapshot is kept.
    pub(crate) authorized: bool,
    /// Whether doing the work twice is harmless; set where no snapshot is kept.
    pub(crate) harmless: bool,
    /// Whether the request has ended and was reported.
    pub(crate) done: bool,
}

impl Scratch {
    /// Takes a recycled box, or makes one; it holds no data.
    #[inline]
    pub(crate) fn take() -> Self {
        let used =
            RECYCLED.try_with(|scratches| scratches.try_borrow_mut().ok()?.pop()).ok().flatten();
        Self(Some(used.unwrap_or_default()))
    }
}

impl RequestData {
    /// Removes all data of the request.
    #[inline]
    fn wipe(&mut self) {
        let Self { snapshot, barred, ledger, options, started, just_started, .. } = self;
        snapshot.wipe();
        (*barred, *started, *just_started) = (None, None, false);
        // Fields that are empty, as they mostly are, are not written.
        if ledger.is_some() {
            *ledger = None;
        }
        if options.is_some() {
            *options = None;
        }
        let Self { model, handoff, parent, send, reported, authorized, harmless, done, .. } = self;
        if !matches!(model, Model::Unread) {
            *model = Model::Unread;
        }
        if handoff.is_some() {
            *handoff = Handoff::default();
        }
        (*parent, *send) = (0, 0);
        (*reported, *authorized, *harmless, *done) = (false, false, false, false);
    }

    /// Returns the caller's request head, where parts of it were kept.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.is_taken().then_some(&self.snapshot)
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        let Some(mut written) = self.0.take() else { return };
        written.wipe();
        let _ = RECYCLED.try_with(|scratches| {
            if let Ok(mut scratches) = scratches.try_borrow_mut() {
                if scratches.len() < MOST_RECYCLED {
                    scratches.push(written);
                }
            }
        });
    }
}

impl Deref for Scratch {
    type Target = RequestData;

    #[inline]
    fn deref(&self) -> &RequestData {
        match &self.0 {
            Some(written) => written,
            None => unreachable!("a scratch is taken away only when it is dropped"),
        }
    }
}

impl DerefMut for Scratch {
    #[inline]
    fn deref_mut(&mut self) -> &mut RequestData {
        match &mut self.0 {
            Some(written) => written,
            None => unreachable!("a scratch is taken away only when it is dropped"),
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, request::Parts};

    use super::*;

    fn head() -> Parts {
        Request::new(()).into_parts().0
    }

    #[test]
    fn recycled_scratch_holds_nothing_of_the_request_before() {
        let mut scratch = Scratch::take();
        let mut before = head();
        before.headers.insert("a", HeaderValue::from_static("b"));
        before.extensions.insert(1_u8);
        scratch.snapshot.keep_whole(&before, false);
        assert!(scratch.snapshot.head().is_some());
        scratch.barred = Some(NotResent::SentOnce);
        scratch.ledger = Some(Arc::new(Ledger::new(None)));
        scratch.options = Some(RequestOptions::new().label("one"));
        scratch.started = Some(Instant::now());
        scratch.model = Model::Named("m".into(), None);
        scratch.handoff.model = Some("m".into());
        (scratch.just_started, scratch.reported, scratch.authorized) = (true, true, true);
        (scratch.harmless, scratch.done, scratch.parent, scratch.send) = (true, true, 1, 2);
        drop(scratch);
        let fresh = format!("{:?}", RequestData::default());
        assert_eq!(format!("{:?}", *Scratch::take()), fresh);
        // `Debug` does not show the headers and extensions of the snapshot.
        let mut again = Scratch::take();
        again.snapshot.keep_whole(&head(), false);
        let rebuilt = again.snapshot.head().unwrap();
        assert!(rebuilt.headers.is_empty() && rebuilt.extensions.is_empty());
    }

    #[test]
    fn recycled_boxes_are_bounded_in_number() {
        drop((0..MOST_RECYCLED + 20).map(|_| Scratch::take()).collect::<Vec<_>>());
        assert_eq!(RECYCLED.with(|scratches| scratches.borrow().len()), MOST_RECYCLED);
    }

    #[test]
    fn scratch_taken_during_a_wipe_is_a_new_one() {
        /// Takes a scratch while it is dropped.
        #[derive(Clone)]
        struct Nested(#[allow(dead_code)] Arc<Again>);
        struct Again;
        impl Drop for Again {
            fn drop(&mut self) {
                let mut scratch = Scratch::take();
                scratch.done = true;
            }
        }
        let mut head = head();
        head.headers.insert("a", HeaderValue::from_static("b"));
        head.extensions.insert(Nested(Arc::new(Again)));
        let mut scratch = Scratch::take();
        scratch.snapshot.keep_whole(&head, false);
        drop(head);
        drop(scratch);
        assert!(!Scratch::take().done);
    }
}
