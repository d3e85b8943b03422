//! What a driver writes down of one request, in memory that is wiped and used again.
//!
//! Most of it stays empty for most requests. In the future itself all of it would be moved with the
//! future, time and again.

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
    #[allow(clippy::vec_box)] // It is the boxes that are used again.
    static RECYCLED: RefCell<Vec<Box<RequestData>>> = const { RefCell::new(Vec::new()) };
}

/// See the [module](self).
pub(crate) struct Scratch(Option<Box<RequestData>>);

/// The contents of a [`Scratch`].
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
pub(crate) struct RequestData {
    /// The caller's request head, as far as it is needed.
    pub(crate) snapshot: Snapshot,
    /// Why the request cannot be sent again, whatever happens.
    pub(crate) barred: Option<NotResent>,
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) options: Option<RequestOptions>,
    pub(crate) started: Option<Instant>,
    /// `started` was read for this driver, and not for one further out.
    pub(crate) just_started: bool,
    /// The model that the caller's request names, when somebody has asked.
    pub(crate) model: Model,
    /// What outer layers have put on the request.
    pub(crate) handoff: Handoff,
    /// The send of an outer driver that this request is part of; 0 for none.
    pub(crate) parent: u32,
    /// The send in flight; 0 while nobody below is told of it.
    pub(crate) send: u32,
    /// A layer outside reports this request.
    pub(crate) reported: bool,
    /// A credential of the caller's own was on the request; known here where no snapshot tells it.
    pub(crate) authorized: bool,
    /// Doing the work twice is harmless; known here where no snapshot tells it.
    pub(crate) harmless: bool,
    pub(crate) done: bool,
}

impl Scratch {
    /// An empty one.
    #[inline]
    pub(crate) fn take() -> Self {
        let used =
            RECYCLED.try_with(|scratches| scratches.try_borrow_mut().ok()?.pop()).ok().flatten();
        Self(Some(used.unwrap_or_default()))
    }
}

impl RequestData {
    /// Nothing of one request is there for the next.
    #[inline]
    fn wipe(&mut self) {
        let Self { snapshot, barred, ledger, options, started, just_started, .. } = self;
        snapshot.wipe();
        (*barred, *started, *just_started) = (None, None, false);
        // What is empty already, as it mostly is, is not written.
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

    /// The caller's request head, where anything of it was kept.
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
    fn a_used_slate_says_nothing_of_the_request_before() {
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
        // What `Debug` does not show of the head.
        let mut again = Scratch::take();
        again.snapshot.keep_whole(&head(), false);
        let rebuilt = again.snapshot.head().unwrap();
        assert!(rebuilt.headers.is_empty() && rebuilt.extensions.is_empty());
    }

    #[test]
    fn slates_are_bounded_in_number() {
        drop((0..MOST_RECYCLED + 20).map(|_| Scratch::take()).collect::<Vec<_>>());
        assert_eq!(RECYCLED.with(|scratches| scratches.borrow().len()), MOST_RECYCLED);
    }

    #[test]
    fn a_slate_taken_while_another_is_wiped_is_a_new_one() {
        /// Takes a slate while it is dropped itself.
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
