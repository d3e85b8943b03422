//! Bodies that were read before they are sent, so that they can be resent.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// The request body that an inner service receives from [`Buffered`](crate::body::Buffered): the data
/// that was read ahead, then the rest.
///
/// 1. Data, trailers and errors are those of the original body, in their order.
/// 2. Its length is the length that the original declared. Where that declared none and was read
///    whole, the length is known, but for a body with trailers, which HTTP/1.1 has only for bodies of
///    unknown length (RFC 9112 §7.1.2).
pub struct ReplayBody<B: Body> {
    pub(crate) ahead: Chunks,
    pub(crate) at: usize,
    pub(crate) then: Then<B>,
}

/// The part after the data that was read.
pub(crate) enum Then<B: Body> {
    /// Trailers, kept beside the data.
    Trailers,
    /// The error with which the body ended, and how many bytes were missing, if it declared a length.
    Error(B::Error, Option<u64>),
    /// The rest, which was not read.
    Rest(B),
    End,
}

/// Data in order; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Chunks {
    None,
    One(Bytes),
    Many(Arc<[Bytes]>),
    Trailed(Arc<Trailed>),
}

#[derive(Clone, Debug)]
pub(crate) struct Trailed {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) trailers: HeaderMap,
    /// Whether the body declared its length.
    pub(crate) known: bool,
}

/// A whole body, kept for another attempt.
#[derive(Clone, Debug)]
pub(crate) struct WholeBody(pub(crate) Chunks);

impl<B: Body> ReplayBody<B> {
    pub(crate) fn whole(whole: &WholeBody) -> Self {
        let ahead = whole.0.clone();
        let then = if matches!(ahead, Chunks::Trailed(_)) { Then::Trailers } else { Then::End };
        Self { ahead, at: 0, then }
    }

    pub(crate) const fn unread(body: B) -> Self {
        Self { ahead: Chunks::None, at: 0, then: Then::Rest(body) }
    }

    fn left(&self) -> u64 {
        self.ahead.as_slice().iter().skip(self.at).map(|chunk| chunk.len() as u64).sum()
    }
}

impl Chunks {
    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
            Self::Trailed(trailed) => &trailed.chunks,
        }
    }

    /// Whether the body has trailers and declared its length.
    fn is_known(&self) -> bool {
        matches!(self, Self::Trailed(trailed) if trailed.known)
    }
}

impl WholeBody {
    /// Returns these bytes with the trailers of this body.
    pub(crate) fn with(&self, bytes: Bytes) -> Self {
        Self(match &self.0 {
            Chunks::Trailed(trailed) => Chunks::Trailed(Arc::new(Trailed {
                chunks: vec![bytes],
                trailers: trailed.trailers.clone(),
                known: trailed.known,
            })),
            _ => Chunks::One(bytes),
        })
    }

    /// Returns all data in one piece.
    pub(crate) fn bytes(&self) -> Bytes {
        match self.0.as_slice() {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => {
                let mut all = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                for chunk in many {
                    all.extend_from_slice(chunk);
                }
                all.freeze()
            }
        }
    }
}

/// Its parts are never pinned in place; the error is only moved out.
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
            Then::Trailers => match std::mem::replace(&mut self.ahead, Chunks::None) {
                Chunks::Trailed(kept) => {
                    Some(Ok(Frame::trailers(Arc::unwrap_or_clone(kept).trailers)))
                }
                _ => None,
            },
            Then::Error(error, _) => Some(Err(error)),
            Then::Rest(_) | Then::End => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.ahead.as_slice().len()
            && match &self.then {
                Then::Rest(rest) => rest.is_end_stream(),
                Then::End => true,
                Then::Trailers | Then::Error(..) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.left();
        let mut hint = SizeHint::new();
        match &self.then {
            Then::End => hint.set_exact(ahead),
            Then::Trailers if self.ahead.is_known() => hint.set_exact(ahead),
            // A body that ends with an error must not look like a shorter one.
            Then::Error(_, Some(missing)) => hint.set_exact(ahead.saturating_add(*missing)),
            Then::Trailers | Then::Error(_, None) => hint.set_lower(ahead),
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
            Then::Trailers => "trailers",
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
