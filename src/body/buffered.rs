//! Keeping request bodies that stream: they are read into memory before they are sent.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body;

use super::{
    filling::{Filling, start},
    keep::{FirstBody, Keep, Spare, SpareService, Started, Strategy, spare_by_clone},
    replay::{ReplayBody, WholeBody},
};

/// Reads the body before it is sent, up to a size, and resends it from memory.
///
/// 1. A body of known length within the cap is awaited.
/// 2. A body of unknown length is read only while it is ready. At the first pause it is sent at once,
///    streaming, and not kept (`not_resent: streaming`): a request never waits for a body that may
///    itself wait for the answer (gRPC).
/// 3. A larger body is sent once, whole (`not_resent: too_large`). It is never an error.
/// 4. Trailers are kept too. An error of the body is passed on after the data before it.
///
/// The inner service is called with a [`ReplayBody`].
#[derive(Clone, Copy, Debug)]
pub struct Buffered {
    cap: usize,
}

/// Like [`Buffered`], for an inner service with a body type of its own: a function converts the
/// [`ReplayBody`].
#[derive(Clone, Copy)]
pub struct BufferedAs<F> {
    cap: usize,
    map: F,
}

impl Buffered {
    /// Reads and keeps at most `cap` bytes. The default is 1 MiB.
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
    /// Reads and keeps at most `cap` bytes, and sends the body as converted by `map`.
    pub const fn new(cap: usize, map: F) -> Self {
        Self { cap, map }
    }
}

#[diagnostic::do_not_recommend]
impl<B: Body<Data = Bytes> + Unpin> Keep<B> for Buffered {
    type Out = ReplayBody<B>;
}

impl<B: Body<Data = Bytes> + Unpin> Strategy<B, ReplayBody<B>> for Buffered {
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
    ) -> Poll<FirstBody<ReplayBody<B>, WholeBody>> {
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
}

impl<B, F, O> Strategy<B, O> for BufferedAs<F>
where
    B: Body<Data = Bytes> + Unpin,
    F: Fn(ReplayBody<B>) -> O + Send + Sync + 'static,
{
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
    ) -> Poll<FirstBody<O, WholeBody>> {
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

spare_by_clone! {
    [] Buffered,
    [F: Send + Sync + 'static] BufferedAs<F>,
}

impl<F> fmt::Debug for BufferedAs<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedAs").field("cap", &self.cap).finish_non_exhaustive()
    }
}
