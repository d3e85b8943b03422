//! Request bodies: in memory, in pieces, with pauses, with trailers, or broken off.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use tokio::time::Sleep;
use tower_failover::body::ReplayBody;

/// The shape of a caller's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// The number of pieces.
    pub(crate) pieces: usize,
    /// A pause before the last piece.
    pub(crate) pause: bool,
    pub(crate) trailers: bool,
    /// The body fails before its last piece.
    pub(crate) fails: bool,
    /// The length is known.
    pub(crate) known: bool,
}

impl Shape {
    /// A body in memory.
    pub(crate) const PLAIN: Self =
        Self { pieces: 1, pause: false, trailers: false, fails: false, known: true };
}

#[derive(Clone, Debug)]
pub(crate) enum Beat {
    Data(Bytes),
    Pause,
    Trailers,
    Error,
}

/// The error of a broken body.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub(crate) struct Broken;

/// See the [module](self).
pub(crate) enum TestBody {
    Own {
        beats: Arc<[Beat]>,
        at: usize,
        nap: Option<Pin<Box<Sleep>>>,
        /// The rest of its length, if known.
        length: Option<u64>,
    },
    /// The body as an outer layer sends it, without a clone.
    Replayed(Box<ReplayBody<TestBody>>),
}

pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("42"))])
}

impl TestBody {
    pub(crate) fn new(text: &str, shape: Shape) -> Self {
        let size = text.len().div_ceil(shape.pieces.max(1)).max(1);
        let pieces = text.as_bytes().chunks(size).map(Bytes::copy_from_slice);
        let mut beats: Vec<_> = pieces.map(Beat::Data).collect();
        let last = beats.len().saturating_sub(1);
        if shape.fails {
            beats.truncate(last);
            beats.push(Beat::Error);
        }
        if shape.pause {
            beats.insert(last, Beat::Pause);
        }
        if shape.trailers {
            beats.push(Beat::Trailers);
        }
        let length = shape.known.then_some(text.len() as u64);
        Self::Own { beats: beats.into(), at: 0, nap: None, length }
    }

    /// Returns a clone, if the body has one.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        match self {
            Self::Own { beats, at, length, .. } => {
                Some(Self::Own { beats: beats.clone(), at: *at, nap: None, length: *length })
            }
            Self::Replayed(_) => None,
        }
    }

    pub(crate) fn replayed(body: ReplayBody<Self>) -> Self {
        Self::Replayed(Box::new(body))
    }
}

/// Clones a body for layers that require `Clone`.
impl Clone for TestBody {
    fn clone(&self) -> Self {
        self.try_clone().unwrap()
    }
}

impl From<Bytes> for TestBody {
    fn from(bytes: Bytes) -> Self {
        let length = Some(bytes.len() as u64);
        Self::Own { beats: Arc::new([Beat::Data(bytes)]), at: 0, nap: None, length }
    }
}

impl From<String> for TestBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl Default for TestBody {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let (beats, at, nap, length) = match &mut *self {
            Self::Replayed(body) => return Pin::new(body).poll_frame(cx),
            Self::Own { beats, at, nap, length } => (beats, at, nap, length),
        };
        loop {
            if let Some(sleep) = nap {
                ready!(sleep.as_mut().poll(cx));
                *nap = None;
            }
            let Some(beat) = beats.get(*at) else { return Poll::Ready(None) };
            *at += 1;
            return Poll::Ready(Some(match beat {
                Beat::Pause => {
                    *nap = Some(Box::pin(tokio::time::sleep(Duration::from_millis(30))));
                    continue;
                }
                Beat::Data(data) => {
                    *length = length.map(|length| length - data.len() as u64);
                    Ok(Frame::data(data.clone()))
                }
                Beat::Trailers => Ok(Frame::trailers(trailers())),
                Beat::Error => {
                    *at = beats.len();
                    Err(Broken)
                }
            }));
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { beats, at, nap, .. } => *at >= beats.len() && nap.is_none(),
            Self::Replayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { length, .. } => length.map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Replayed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for TestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own { .. } => "Own",
            Self::Replayed(_) => "Replayed",
        })
    }
}

/// The part of a body read so far.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads a body to its end, as far as it is ready.
pub(crate) fn poll_read(
    body: &mut TestBody,
    read: &mut Read,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Broken>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(Ok(())),
            Some(Err(broken)) => return Poll::Ready(Err(broken)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => read.data.extend_from_slice(&data),
                Err(frame) => read.trailers = frame.into_trailers().ok(),
            },
        }
    }
}

/// Mostly in memory.
pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let rarely = || proptest::bool::weighted(0.2);
    let odd = (1..4_usize, any::<bool>(), any::<bool>(), rarely(), any::<bool>()).prop_map(
        |(pieces, pause, trailers, fails, known)| Shape { pieces, pause, trailers, fails, known },
    );
    prop_oneof![3 => Just(Shape::PLAIN), 1 => odd]
}
