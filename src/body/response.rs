//! The response's body: the inner one, or one of this crate's own.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::pool::lease::InFlight;

/// The body of every response: the upstream's own, frame for frame, or that of a local answer.
///
/// All data, trailers and errors of the upstream are passed on. Where the beginning of an error body
/// was read to classify the answer, it comes first and the rest follows.
///
/// # Cancel safety
///
/// It may be dropped unread: where the pool selects by requests in flight, the request then counts
/// as ended. The client decides about the connection.
#[pin_project]
pub struct FailoverBody<B: Body> {
    #[pin]
    inner: Inner<B>,
    /// Dropped at the end of the body.
    in_flight: Option<InFlight>,
}

#[pin_project(project = InnerProj)]
enum Inner<B: Body> {
    Upstream(#[pin] B),
    Peeked(Box<Peeked<B>>),
    Local(Option<Bytes>),
}

/// A body with its frames that were read ahead, and the unread rest.
pub(crate) struct Peeked<B: Body> {
    pub(crate) ahead: VecDeque<Frame<Bytes>>,
    /// Comes after the frames that were read ahead, and ends the body.
    pub(crate) error: Option<B::Error>,
    pub(crate) rest: Option<Pin<Box<B>>>,
    /// The declared bounds of the length, less the data that was passed on.
    said: (u64, Option<u64>),
}

impl<B: Body> FailoverBody<B> {
    pub(crate) const fn upstream(body: B, in_flight: Option<InFlight>) -> Self {
        Self { inner: Inner::Upstream(body), in_flight }
    }

    pub(crate) fn peeked(peeked: Peeked<B>) -> Self {
        Self { inner: Inner::Peeked(Box::new(peeked)), in_flight: None }
    }

    /// Builds the body of a local answer.
    pub(crate) const fn local(bytes: Bytes) -> Self {
        Self { inner: Inner::Local(Some(bytes)), in_flight: None }
    }

    pub(crate) fn with_in_flight(mut self, in_flight: Option<InFlight>) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Returns whether this is the body of an answer of the upstream, as opposed to a local answer.
    pub const fn is_upstream(&self) -> bool {
        !matches!(self.inner, Inner::Local(_))
    }
}

impl<B: Body<Data = Bytes>> Body for FailoverBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = match this.inner.project() {
            InnerProj::Upstream(body) => body.poll_frame(cx),
            InnerProj::Peeked(peeked) => peeked.poll_frame(cx),
            InnerProj::Local(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
        };
        if matches!(polled, Poll::Ready(None)) {
            *this.in_flight = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Upstream(body) => body.is_end_stream(),
            Inner::Peeked(peeked) => peeked.is_end_stream(),
            Inner::Local(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Upstream(body) => body.size_hint(),
            Inner::Peeked(peeked) => peeked.size_hint(),
            Inner::Local(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// Converts the body of an answer, so that `reqwest::Response::from` accepts the answer.
///
/// A body that this crate has nothing to add to is unwrapped.
#[cfg(feature = "reqwest")]
impl<B> From<FailoverBody<B>> for reqwest::Body
where
    B: Body<Data = Bytes> + Into<Self> + Send + Sync + 'static,
    B::Error: std::error::Error + Send + Sync,
{
    fn from(body: FailoverBody<B>) -> Self {
        match body {
            FailoverBody { inner: Inner::Upstream(body), in_flight: None } => body.into(),
            FailoverBody { inner: Inner::Local(bytes), in_flight: None } => {
                bytes.unwrap_or_default().into()
            }
            body => Self::wrap(body),
        }
    }
}

impl<B: Body<Data = Bytes>> Peeked<B> {
    /// Wraps a body of which nothing was read yet.
    pub(crate) fn new(body: B) -> Self {
        let hint = body.size_hint();
        let said = (hint.lower(), hint.upper());
        Self { ahead: VecDeque::new(), error: None, rest: Some(Box::pin(body)), said }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(frame) = self.ahead.pop_front() {
            let given = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.said.0 = self.said.0.saturating_sub(given);
            self.said.1 = self.said.1.map(|upper| upper.saturating_sub(given));
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take() {
            self.rest = None;
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.rest {
            Some(rest) => rest.as_mut().poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty()
            && self.error.is_none()
            && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead: u64 =
            self.ahead.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
        let more = |upper: u64| upper.checked_add(ahead);
        let (lower, upper) = match &self.rest {
            Some(rest) => {
                let rest = rest.size_hint();
                (rest.lower().saturating_add(ahead), rest.upper().and_then(more))
            }
            // A body that ends with an error must not look like a shorter one, and HTTP/1.1 has trailers only for
            // bodies of unknown length (RFC 9112 §7.1.2).
            None if self.error.is_some() || self.ahead.iter().any(Frame::is_trailers) => {
                let lower = self.said.0.max(ahead);
                (lower, self.said.1.map(|upper| upper.max(lower)))
            }
            None => (ahead, Some(ahead)),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        if let Some(upper) = upper {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body> fmt::Debug for FailoverBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.inner {
            Inner::Upstream(_) => "upstream",
            Inner::Peeked(_) => "upstream, beginning read",
            Inner::Local(_) => "local",
        };
        f.debug_struct("FailoverBody").field("from", &kind).finish_non_exhaustive()
    }
}

impl<B: Body> fmt::Debug for Peeked<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked").field("frames", &self.ahead.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "reqwest"))]
mod tests {
    use bytes::Bytes;

    use super::{FailoverBody, Peeked};

    #[test]
    fn body_in_memory_stays_in_memory_when_it_becomes_reqwests() {
        let upstream = || FailoverBody::upstream(reqwest::Body::from("a film"), None);
        let local = FailoverBody::<reqwest::Body>::local(Bytes::from("a film"));
        for body in [upstream(), local] {
            assert_eq!(reqwest::Body::from(body).as_bytes(), Some(&b"a film"[..]));
        }
        let of_two_layers = FailoverBody::upstream(upstream(), None);
        assert_eq!(reqwest::Body::from(of_two_layers).as_bytes(), Some(&b"a film"[..]));
        let peeked = FailoverBody::peeked(Peeked::new(reqwest::Body::from("a film")));
        assert_eq!(reqwest::Body::from(peeked).as_bytes(), None, "the rest is still to be read");
    }
}
