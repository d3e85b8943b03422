//! Keeping request bodies that have a fallible clone of their own.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;

use super::keep::{
    FirstBody, Keep, Never, Spare, SpareService, Started, Strategy, gather, spare_by_clone,
};
use crate::report::NotResent;

/// Clones the body with a function that may fail, such as the `try_clone` of kube's `Body`.
///
/// A request whose body gives no clone is sent once. [`BufferedAs`](crate::body::BufferedAs) needs no
/// clone, but a way to make the inner service's body of a streaming one, which kube does not offer.
pub struct TryCloned<B> {
    clone: fn(&B) -> Option<B>,
    made_of: Option<fn(Bytes) -> B>,
}

impl<B> TryCloned<B> {
    /// Clones bodies with this function.
    pub const fn new(clone: fn(&B) -> Option<B>) -> Self {
        Self { clone, made_of: None }
    }

    /// Builds a body from bytes with this function, so that a model named in it can be changed.
    #[must_use]
    pub const fn made_of(mut self, make: fn(Bytes) -> B) -> Self {
        self.made_of = Some(make);
        self
    }
}

#[diagnostic::do_not_recommend]
impl<B: Body<Data = Bytes> + 'static> Keep<B> for TryCloned<B> {
    type Out = B;
}

impl<B: Body<Data = Bytes> + 'static> Strategy<B, B> for TryCloned<B> {
    type Kept = B;
    type Fill = Never;

    fn once(&self, body: B) -> B {
        body
    }

    fn start(&self, body: B) -> Started<B, B, Never> {
        match (self.clone)(&body) {
            Some(clone) => Started::Ready(clone, Ok(body)),
            None => Started::Ready(body, Err(NotResent::Streaming)),
        }
    }

    fn poll_fill(&self, fill: &mut Never, _: &mut Context<'_>) -> Poll<FirstBody<B, B>> {
        match *fill {}
    }

    fn again(&self, kept: &B) -> Option<B> {
        (self.clone)(kept)
    }

    fn last(&self, kept: B) -> Option<B> {
        Some(kept)
    }

    fn bytes(&self, kept: &B) -> Option<Bytes> {
        self.made_of?;
        gather((self.clone)(kept)?)
    }

    fn edited(&self, _: &B, bytes: Bytes) -> Option<B> {
        self.made_of.map(|make| make(bytes))
    }
}

spare_by_clone!([B: 'static] TryCloned<B>);

impl<B> Clone for TryCloned<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for TryCloned<B> {}

impl<B> fmt::Debug for TryCloned<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryCloned")
            .field("made_of", &self.made_of.is_some())
            .finish_non_exhaustive()
    }
}
