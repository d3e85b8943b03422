//! A service that reads request bodies of any kind and records their frames.

use std::{
    collections::VecDeque,
    fmt::Display,
    future::Future,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body::Body;
use http_body_util::Full;
use tokio::time::Instant;
use tower::BoxError;

/// The part of a body that is read before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    All,
    Frames(usize),
}

/// The size hint and end of a body at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) lower: u64,
    pub(crate) upper: Option<u64>,
    pub(crate) end: bool,
    /// The data and frames received by then.
    data: u64,
    frames: usize,
}

/// The received part of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<String>,
    /// The body was read to its end or its error.
    pub(crate) ended: bool,
    /// The number of data frames.
    pub(crate) pieces: usize,
    pub(crate) claims: Vec<Claim>,
}

impl Received {
    /// Checks the claims of the body against the received frames.
    pub(crate) fn check_claims(&self) {
        let frames = self.pieces + usize::from(self.trailers.is_some() || self.error.is_some());
        for claim in &self.claims {
            let left = self.data.len() as u64 - claim.data;
            let most = claim.upper.unwrap_or(u64::MAX);
            assert!(claim.lower <= most, "{claim:?}");
            assert!(left <= most, "{left} bytes attempts after {claim:?}");
            // The full length of a broken body is unknown.
            if self.ended && self.error.is_none() {
                assert!(claim.lower <= left, "{left} bytes attempts after {claim:?}");
            }
            assert!(!claim.end || claim.frames == frames, "not the end: {claim:?} of {self:?}");
        }
    }

    /// Returns the claim of the body before it was read.
    pub(crate) fn first_claim(&self) -> Claim {
        self.claims[0]
    }
}

/// Reads a body or its beginning.
pub(crate) async fn receive<B>(body: B, read: Read) -> Received
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    let mut received = Received::default();
    loop {
        let hint = body.size_hint();
        let frames = received.pieces + usize::from(received.trailers.is_some());
        received.claims.push(Claim {
            lower: hint.lower(),
            upper: hint.upper(),
            end: body.is_end_stream(),
            data: received.data.len() as u64,
            frames,
        });
        if read == Read::Frames(frames) {
            return received;
        }
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => received.ended = true,
            Some(Err(error)) => {
                received.error = Some(error.to_string());
                received.ended = true;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    received.data.extend_from_slice(&data);
                    received.pieces += 1;
                }
                Err(frame) => received.trailers = frame.into_trailers().ok(),
            },
        }
        if received.ended {
            return received;
        }
    }
}

/// One received attempt.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) head: request::Parts,
    pub(crate) at: Instant,
    /// Empty until reading has ended.
    pub(crate) received: Received,
}

#[derive(Debug, Default)]
struct Inner {
    attempts: Vec<Attempt>,
    script: VecDeque<(Read, u16)>,
}

/// See the [module](self). Clones share everything but their readiness.
#[derive(Debug)]
pub(crate) struct Sink<B> {
    inner: Arc<Mutex<Inner>>,
    ready: bool,
    body: PhantomData<fn(B)>,
}

impl<B> Clone for Sink<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ready: false, body: PhantomData }
    }
}

impl<B> Sink<B> {
    /// Reads this much of each body and answers with this status; later bodies are read completely
    /// and get 200.
    pub(crate) fn script(script: impl IntoIterator<Item = (Read, u16)>) -> Self {
        let inner = Inner { script: script.into_iter().collect(), ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), ready: false, body: PhantomData }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.lock().attempts.clone()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.attempts().into_iter().map(|attempts| attempts.received).collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock().attempts.len()
    }
}

impl<B> tower::Service<Request<B>> for Sink<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Display,
{
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        let (head, body) = request.into_parts();
        let mut inner = self.lock();
        let nth = inner.attempts.len();
        inner.attempts.push(Attempt { head, at: Instant::now(), received: Received::default() });
        let (read, status) = inner.script.pop_front().unwrap_or((Read::All, 200));
        drop(inner);
        let inner = self.inner.clone();
        Box::pin(async move {
            let received = receive(body, read).await;
            inner.lock().unwrap_or_else(PoisonError::into_inner).attempts[nth].received = received;
            Ok(Response::builder().status(status).body(Full::default()).unwrap())
        })
    }
}
