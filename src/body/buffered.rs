//! Keeping bodies that are not cheap to clone: read and kept, or cloned by a function of their own.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;

use super::{
    filling::{Filling, start},
    keep::{Keep, Never, Spare, Started, gather, spare_by_clone},
    replay::{ReplayBody, WholeBody},
};
use crate::report::NotResent;

/// The body is read before it is sent, up to a size, and sent again from memory.
///
/// 1. A body of known length within the cap is awaited.
/// 2. A body of unknown length is read only while it is ready. When it is not, it is sent at once,
///    streaming, and not kept (`not_resent: streaming`): no request ever waits for a body that may
///    wait for its answer (gRPC).
/// 3. A larger body is sent once, whole (`not_resent: too_large`). It is never an error.
/// 4. Trailers are kept too. An error of the body is sent on after what came before it.
///
/// The inner service is called with a [`ReplayBody`].
///
/// ```
/// use tower_failover::{body::Buffered, RetryLayer};
///
/// let layer = RetryLayer::default().body_strategy(Buffered::up_to(1024 * 1024));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Buffered {
    cap: usize,
}

/// The same as [`Buffered`], for an inner service that wants another type of body.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full, combinators::BoxBody};
/// use tower_failover::{body::{BufferedAs, ReplayBody}, RetryLayer};
///
/// let keep = BufferedAs::new(64 * 1024, |body: ReplayBody<Full<Bytes>>| BodyExt::boxed(body));
/// let layer = RetryLayer::default().body_strategy(keep);
/// ```
#[derive(Clone, Copy)]
pub struct BufferedAs<F> {
    cap: usize,
    map: F,
}

/// The body has a `try_clone` of its own, as kube's and octocrab's have.
///
/// When it gives no clone, the request is sent once.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower_failover::{body::TryCloned, RetryLayer};
///
/// let keep = TryCloned::new(|body: &Full<Bytes>| Some(body.clone()));
/// let layer = RetryLayer::default().body_strategy(keep);
/// ```
pub struct TryCloned<B> {
    clone: fn(&B) -> Option<B>,
    made_of: Option<fn(Bytes) -> B>,
}

impl Buffered {
    /// Reads and keeps at most `cap` bytes. The usual cap is 1 MiB (`Buffered::default()`).
    pub const fn up_to(cap: usize) -> Self {
        Self { cap }
    }
}

#[cfg(test)]
impl Buffered {
    pub(crate) const fn cap(self) -> usize {
        self.cap
    }
}

impl Default for Buffered {
    fn default() -> Self {
        Self::up_to(1024 * 1024)
    }
}

impl<F> BufferedAs<F> {
    /// Reads and keeps at most `cap` bytes, and sends what `map` makes of the body.
    pub const fn new(cap: usize, map: F) -> Self {
        Self { cap, map }
    }
}

impl<B> TryCloned<B> {
    /// Clones bodies with this function.
    pub const fn new(clone: fn(&B) -> Option<B>) -> Self {
        Self { clone, made_of: None }
    }

    /// Makes a body of bytes with this function, so that a model in it can be changed.
    #[must_use]
    pub const fn made_of(mut self, make: fn(Bytes) -> B) -> Self {
        self.made_of = Some(make);
        self
    }
}

#[diagnostic::do_not_recommend]
impl<B: Body<Data = Bytes> + Unpin> Keep<B> for Buffered {
    type Out = ReplayBody<B>;
    type Kept = WholeBody;
    type Fill = Filling<B>;

    fn once(&self, body: B) -> ReplayBody<B> {
        ReplayBody::unread(body)
    }

    fn start(&self, body: B) -> Started<ReplayBody<B>, WholeBody, Filling<B>> {
        start(body, self.cap)
    }

    fn poll_fill(
        &self,
        fill: &mut Filling<B>,
        cx: &mut Context<'_>,
    ) -> Poll<(ReplayBody<B>, Result<WholeBody, NotResent>)> {
        fill.poll(cx)
    }

    fn again(&self, kept: &WholeBody) -> Option<ReplayBody<B>> {
        Some(ReplayBody::whole(kept))
    }

    fn bytes(&self, kept: &WholeBody) -> Option<Bytes> {
        Some(kept.bytes())
    }

    fn edited(&self, kept: &WholeBody, bytes: Bytes) -> Option<ReplayBody<B>> {
        Some(ReplayBody::whole(&kept.with(bytes)))
    }
}

#[diagnostic::do_not_recommend]
impl<B, F, O> Keep<B> for BufferedAs<F>
where
    B: Body<Data = Bytes> + Unpin,
    F: Fn(ReplayBody<B>) -> O + Send + Sync + 'static,
{
    type Out = O;
    type Kept = WholeBody;
    type Fill = Filling<B>;

    fn once(&self, body: B) -> O {
        (self.map)(ReplayBody::unread(body))
    }

    fn start(&self, body: B) -> Started<O, WholeBody, Filling<B>> {
        match start(body, self.cap) {
            Started::Ready(body, kept) => Started::Ready((self.map)(body), kept),
            Started::Fill(fill) => Started::Fill(fill),
        }
    }

    fn poll_fill(
        &self,
        fill: &mut Filling<B>,
        cx: &mut Context<'_>,
    ) -> Poll<(O, Result<WholeBody, NotResent>)> {
        fill.poll(cx).map(|(body, kept)| ((self.map)(body), kept))
    }

    fn again(&self, kept: &WholeBody) -> Option<O> {
        Some((self.map)(ReplayBody::whole(kept)))
    }

    fn bytes(&self, kept: &WholeBody) -> Option<Bytes> {
        Some(kept.bytes())
    }

    fn edited(&self, kept: &WholeBody, bytes: Bytes) -> Option<O> {
        Some((self.map)(ReplayBody::whole(&kept.with(bytes))))
    }
}

#[diagnostic::do_not_recommend]
impl<B: Body<Data = Bytes> + 'static> Keep<B> for TryCloned<B> {
    type Out = B;
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

spare_by_clone! {
    [] Buffered,
    [F: Send + Sync + 'static] BufferedAs<F>,
    [B: 'static] TryCloned<B>,
}

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

impl<F> fmt::Debug for BufferedAs<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedAs").field("cap", &self.cap).finish_non_exhaustive()
    }
}
