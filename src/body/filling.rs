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
    keep::Started,
    replay::{Chunks, ReplayBody, Then, Trailed, WholeBody},
};
use crate::report::NotResent;

/// So many pieces of data are kept at most: empty ones never come to the cap.
const PIECES: usize = 16 * 1024;

/// A body that is being awaited.
///
/// Made by [`Buffered`](crate::body::Buffered), which has an example.
///
/// # Cancel safety
///
/// Dropping it drops what was read: nothing has been sent by then.
pub struct Filling<B: Body>(Option<Reading<B>>);

/// A body that is being read.
struct Reading<B: Body> {
    body: B,
    chunks: Vec<Bytes>,
    first: Option<Bytes>,
    trailers: Option<HeaderMap>,
    length: usize,
    cap: usize,
    /// How long the body said it is.
    known: Option<u64>,
}

/// Why reading stopped.
enum Stop<E> {
    Whole,
    TooLarge,
    Failed(E),
}

impl<B: Body<Data = Bytes> + Unpin> Filling<B> {
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(ReplayBody<B>, Result<WholeBody, NotResent>)> {
        let Some(reading) = &mut self.0 else { return Poll::Pending };
        let stop = ready!(reading.poll(cx));
        match self.0.take() {
            Some(reading) => Poll::Ready(reading.stop(stop)),
            None => Poll::Pending,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Reading<B> {
    fn new(body: B, cap: usize) -> Self {
        let known = body.size_hint().exact();
        Self { body, chunks: Vec::new(), first: None, trailers: None, length: 0, cap, known }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop<B::Error>> {
        loop {
            if self.body.is_end_stream() {
                return Poll::Ready(Stop::Whole);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
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

    /// The body to send, and what is kept of it.
    fn stop(mut self, stop: Stop<B::Error>) -> (ReplayBody<B>, Result<WholeBody, NotResent>) {
        let chunks = self.take_chunks();
        let (then, why) = match stop {
            Stop::Whole => {
                let whole = WholeBody(chunks);
                return (ReplayBody::whole(&whole), Ok(whole));
            }
            Stop::TooLarge => (Then::Rest(self.body), NotResent::TooLarge),
            Stop::Failed(error) => {
                let missing = self.known.map(|known| known.saturating_sub(self.length as u64));
                (Then::Error(error, missing), NotResent::SentOnce)
            }
        };
        (ReplayBody { ahead: chunks, at: 0, then }, Err(why))
    }

    /// The body to send at once, with what was read of it.
    fn stream(mut self) -> ReplayBody<B> {
        ReplayBody { ahead: self.take_chunks(), at: 0, then: Then::Rest(self.body) }
    }
}

/// Begins to read a body of at most `cap` bytes.
pub(crate) fn start<B: Body<Data = Bytes> + Unpin>(
    body: B,
    cap: usize,
) -> Started<ReplayBody<B>, WholeBody, Filling<B>> {
    let hint = body.size_hint();
    if hint.lower() > cap as u64 {
        return Started::Ready(ReplayBody::unread(body), Err(NotResent::TooLarge));
    }
    let mut reading = Reading::new(body, cap);
    // What is in memory already is ready now; whoever polls it next brings a waker of its own.
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(stop) => {
            let (body, kept) = reading.stop(stop);
            Started::Ready(body, kept)
        }
        Poll::Pending if reading.known.is_some() => Started::Fill(Filling(Some(reading))),
        Poll::Pending => Started::Ready(reading.stream(), Err(NotResent::Streaming)),
    }
}

impl<B: Body> fmt::Debug for Filling<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filling").finish_non_exhaustive()
    }
}
