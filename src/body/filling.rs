//! Reading a body before it is sent.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::{
    keep::{FirstBody, Started},
    replay::{Chunks, ReplayBody, Then, Trailed, WholeBody},
};
use crate::report::NotResent;

/// The most pieces of data that are kept: empty ones never reach the cap.
const PIECES: usize = 16 * 1024;

/// A body that is being read before it is sent.
///
/// # Cancel safety
///
/// Dropping it drops the data that was read: nothing has been sent by then.
pub(crate) struct Filling<B: Body> {
    /// `None` once it was given away.
    body: Option<B>,
    chunks: Vec<Bytes>,
    first: Option<Bytes>,
    trailers: Option<HeaderMap>,
    length: usize,
    cap: usize,
    /// The length that the body declared.
    known: Option<u64>,
}

/// The reason why reading stopped.
enum Stop<E> {
    Whole,
    TooLarge,
    Failed(E),
}

impl<B: Body<Data = Bytes> + Unpin> Filling<B> {
    fn new(body: B, cap: usize) -> Self {
        let known = body.size_hint().exact();
        let body = Some(body);
        Self { body, chunks: Vec::new(), first: None, trailers: None, length: 0, cap, known }
    }

    /// Returns the body to send, and the kept one; not to be polled again after that.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<FirstBody<ReplayBody<B>, WholeBody>> {
        let stop = ready!(self.poll_read(cx));
        Poll::Ready(self.stop(stop))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Stop<B::Error>> {
        debug_assert!(self.body.is_some(), "a body was polled after it was given away");
        loop {
            let Some(body) = self.body.as_mut().filter(|body| !body.is_end_stream()) else {
                return Poll::Ready(Stop::Whole);
            };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Stop::Whole),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Stop::Failed(error)),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    self.length = self.length.saturating_add(data.len());
                    self.push(data);
                    if self.length > self.cap || self.chunks.len() > PIECES {
                        return Poll::Ready(Stop::TooLarge);
                    }
                }
                // Nothing comes after the trailers (RFC 9110 §6.5).
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    return Poll::Ready(Stop::Whole);
                }
            }
        }
    }

    fn push(&mut self, data: Bytes) {
        match self.first.take() {
            None if self.chunks.is_empty() => self.first = Some(data),
            first => {
                self.chunks.extend(first);
                self.chunks.push(data);
            }
        }
    }

    fn take_chunks(&mut self) -> Chunks {
        let chunks = std::mem::take(&mut self.chunks);
        if let Some(trailers) = self.trailers.take() {
            let chunks = self.first.take().into_iter().chain(chunks).collect();
            return Chunks::Trailed(Arc::new(Trailed {
                chunks,
                trailers,
                known: self.known.is_some(),
            }));
        }
        match self.first.take() {
            Some(one) => Chunks::One(one),
            None if chunks.is_empty() => Chunks::None,
            None => Chunks::Many(chunks.into()),
        }
    }

    /// Returns the body to send, and the kept one.
    fn stop(&mut self, stop: Stop<B::Error>) -> FirstBody<ReplayBody<B>, WholeBody> {
        let chunks = self.take_chunks();
        let (then, why) = match stop {
            Stop::Whole => {
                let whole = WholeBody(chunks);
                return (ReplayBody::whole(&whole), Ok(whole));
            }
            Stop::TooLarge => (self.rest(), NotResent::TooLarge),
            Stop::Failed(error) => {
                let missing = self.known.map(|known| known.saturating_sub(self.length as u64));
                (Then::Error(error, missing), NotResent::SentOnce)
            }
        };
        (ReplayBody { ahead: chunks, at: 0, then }, Err(why))
    }

    /// Returns the body to send at once, with the data that was read.
    fn stream(mut self) -> ReplayBody<B> {
        ReplayBody { ahead: self.take_chunks(), at: 0, then: self.rest() }
    }

    fn rest(&mut self) -> Then<B> {
        self.body.take().map_or(Then::End, Then::Rest)
    }
}

/// Begins to read a body, of which at most `cap` bytes are kept.
pub(crate) fn start<B: Body<Data = Bytes> + Unpin>(
    body: B,
    cap: usize,
) -> Started<ReplayBody<B>, WholeBody, Filling<B>> {
    let hint = body.size_hint();
    if hint.lower() > cap as u64 {
        return Started::Ready(ReplayBody::unread(body), Err(NotResent::TooLarge));
    }
    let mut filling = Filling::new(body, cap);
    // A body in memory is ready now. The next poll brings a waker of its own.
    match filling.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready((body, kept)) => Started::Ready(body, kept),
        Poll::Pending if filling.known.is_some() => Started::Fill(filling),
        Poll::Pending => Started::Ready(filling.stream(), Err(NotResent::Streaming)),
    }
}

impl<B: Body> fmt::Debug for Filling<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filling").finish_non_exhaustive()
    }
}
