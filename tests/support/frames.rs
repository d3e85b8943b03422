//! A body that plays its frames one by one, with pauses, trailers and errors, and a service that
//! answers with such bodies.

use std::{
    collections::VecDeque,
    future::Future,
    marker::PhantomPinned,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Sleep;
use tower::BoxError;

/// The next step of a [`Frames`].
#[derive(Clone, Debug)]
pub(crate) enum Beat {
    Data(Bytes),
    Trailers(HeaderMap),
    /// A pause.
    Pause(Duration),
    /// An error with this text; later steps follow it.
    Error(String),
}

/// The error of a body, with its own type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

/// See the [module](self). It is `!Unpin`.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Frames {
    beats: VecDeque<Beat>,
    /// The remaining length, if known.
    left: Option<u64>,
    nap: Option<Pin<Box<Sleep>>>,
    #[pin]
    pinned: PhantomPinned,
}

impl Frames {
    pub(crate) fn new(beats: impl IntoIterator<Item = Beat>) -> Self {
        Self { beats: beats.into_iter().collect(), left: None, nap: None, pinned: PhantomPinned }
    }

    /// Creates a body of known length.
    pub(crate) fn of_length(length: u64, beats: impl IntoIterator<Item = Beat>) -> Self {
        Self { left: Some(length), ..Self::new(beats) }
    }
}

/// Clones a body that is not in a pause.
impl Clone for Frames {
    fn clone(&self) -> Self {
        assert!(self.nap.is_none(), "cloned in the middle of a pause");
        Self { left: self.left, ..Self::new(self.beats.iter().cloned()) }
    }
}

impl From<Bytes> for Frames {
    fn from(data: Bytes) -> Self {
        Self::of_length(data.len() as u64, [Beat::Data(data)])
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.project();
        loop {
            if let Some(nap) = this.nap {
                ready!(nap.as_mut().poll(cx));
                *this.nap = None;
            }
            return Poll::Ready(match this.beats.pop_front() {
                None => None,
                Some(Beat::Data(data)) => {
                    if let Some(left) = this.left {
                        *left = left.checked_sub(data.len() as u64).expect("longer than announced");
                    }
                    Some(Ok(Frame::data(data)))
                }
                Some(Beat::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Beat::Error(text)) => Some(Err(Broken(text))),
                Some(Beat::Pause(time)) => {
                    *this.nap = Some(Box::pin(tokio::time::sleep(time)));
                    continue;
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.beats.is_empty() && self.nap.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// Reads all frames of a body, up to and including its error.
pub(crate) async fn drain<B>(body: B) -> (Vec<Frame<Bytes>>, Option<B::Error>)
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut frames = Vec::new();
    loop {
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => return (frames, None),
            Some(Ok(frame)) => frames.push(frame),
            Some(Err(error)) => return (frames, Some(error)),
        }
    }
}

/// A service that returns these answers in order, then an empty 200.
#[derive(Clone, Debug, Default)]
pub(crate) struct Player(Arc<Mutex<Played>>);

#[derive(Debug, Default)]
struct Played {
    answers: VecDeque<Response<Frames>>,
    tokens: Vec<String>,
}

impl Player {
    pub(crate) fn new(answers: impl IntoIterator<Item = Response<Frames>>) -> Self {
        let played = Played { answers: answers.into_iter().collect(), tokens: Vec::new() };
        Self(Arc::new(Mutex::new(played)))
    }

    /// Returns the token of each attempt; an empty string for none.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tokens.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.tokens().len()
    }
}

impl<B> tower::Service<Request<B>> for Player {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Frames>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut played = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let token = request.headers().get("authorization").map(|value| {
            let value = value.to_str().unwrap();
            value.strip_prefix("Bearer ").unwrap_or(value).to_owned()
        });
        played.tokens.push(token.unwrap_or_default());
        let answer = played.answers.pop_front();
        std::future::ready(Ok(answer.unwrap_or_else(|| Response::new(Frames::new([])))))
    }
}
