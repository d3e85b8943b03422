//! Bodies that are read before they are sent, so that they can be sent again.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::{
    keep::Started,
    whole::{Chunks, Trailers, WholeBody},
};
use crate::report::NotResent;

/// A request body that was read before it was sent, as far as it was.
///
/// 1. Data, trailers and errors are those of the body it was made of, in their order.
/// 2. It is as long as that body said. When that said nothing, the length of what was read whole is
///    known; but not where trailers follow, which HTTP/1.1 has only for bodies of unknown length
///    (RFC 9112 §7.1.2).
pub struct ReplayBody<B: Body> {
    ahead: Chunks,
    at: usize,
    then: Then<B>,
}

/// What comes after the data that was read.
enum Then<B: Body> {
    Trailers(Trailers),
    /// The body broke off here, so far from its end, where it said so.
    Error(B::Error, Option<u64>),
    /// The rest was not read.
    Rest(B),
    End,
}

/// So many pieces of data are kept at most: empty ones never come to the cap.
const PIECES: usize = 16 * 1024;

/// A body that is being awaited.
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

// === impl Filling and Reading ===

impl<B: Body<Data = Bytes> + Unpin> Filling<B> {
    pub(super) fn poll(
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
        match self.first.take() {
            Some(one) => Chunks::One(one),
            None if self.chunks.is_empty() => Chunks::None,
            None => Chunks::Many(std::mem::take(&mut self.chunks).into()),
        }
    }

    /// The body to send, and what is kept of it.
    fn stop(mut self, stop: Stop<B::Error>) -> (ReplayBody<B>, Result<WholeBody, NotResent>) {
        let chunks = self.take_chunks();
        let (then, why) = match stop {
            Stop::Whole => {
                let known = self.known.is_some();
                let trailers = self.trailers.take().map(Arc::new);
                let trailers = trailers.map(|fields| Trailers { fields, known });
                let whole = WholeBody { chunks, trailers };
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
pub(super) fn start<B: Body<Data = Bytes> + Unpin>(
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

// === impl ReplayBody ===

impl<B: Body> ReplayBody<B> {
    pub(super) fn whole(whole: &WholeBody) -> Self {
        let then = whole.trailers.clone().map_or(Then::End, Then::Trailers);
        Self { ahead: whole.chunks.clone(), at: 0, then }
    }

    pub(super) const fn unread(body: B) -> Self {
        Self { ahead: Chunks::None, at: 0, then: Then::Rest(body) }
    }

    fn left(&self) -> u64 {
        self.ahead.as_slice().iter().skip(self.at).map(|chunk| chunk.len() as u64).sum()
    }
}

/// Its parts are never pinned in place; an error that is held is only given away.
impl<B: Body + Unpin> Unpin for ReplayBody<B> {}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(chunk) = self.ahead.as_slice().get(self.at).cloned() {
            self.at += 1;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if let Then::Rest(rest) = &mut self.then {
            return Pin::new(rest).poll_frame(cx);
        }
        Poll::Ready(match std::mem::replace(&mut self.then, Then::End) {
            Then::Trailers(trailers) => {
                Some(Ok(Frame::trailers(Arc::unwrap_or_clone(trailers.fields))))
            }
            Then::Error(error, _) => Some(Err(error)),
            Then::Rest(_) | Then::End => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.ahead.as_slice().len()
            && match &self.then {
                Then::Rest(rest) => rest.is_end_stream(),
                Then::End => true,
                Then::Trailers(_) | Then::Error(..) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.left();
        let mut hint = SizeHint::new();
        match &self.then {
            Then::End | Then::Trailers(Trailers { known: true, .. }) => hint.set_exact(ahead),
            // A body that breaks off must not look like a shorter one.
            Then::Error(_, Some(missing)) => hint.set_exact(ahead.saturating_add(*missing)),
            Then::Trailers(_) | Then::Error(_, None) => hint.set_lower(ahead),
            Then::Rest(rest) => {
                let rest = rest.size_hint();
                hint.set_lower(rest.lower().saturating_add(ahead));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ahead)) {
                    hint.set_upper(upper);
                }
            }
        }
        hint
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = match &self.then {
            Then::Trailers(_) => "trailers",
            Then::Error(..) => "error",
            Then::Rest(_) => "unread",
            Then::End => "end",
        };
        f.debug_struct("ReplayBody")
            .field("chunks", &self.ahead.as_slice().len())
            .field("then", &then)
            .finish_non_exhaustive()
    }
}

impl<B: Body> fmt::Debug for Filling<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filling").finish_non_exhaustive()
    }
}
