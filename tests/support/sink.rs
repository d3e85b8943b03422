//! A service that accepts request bodies of any kind, and records their content.

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

/// The size hint of a body at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) lower: u64,
    pub(crate) upper: Option<u64>,
    pub(crate) end: bool,
    /// The data and the frames up to that point.
    data: u64,
    frames: usize,
}

/// The content of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<String>,
    /// Whether it was read to its end, or to its error.
    pub(crate) ended: bool,
    /// The frames with data.
    pub(crate) pieces: usize,
    pub(crate) claims: Vec<Claim>,
}

impl Heard {
    /// Compares the size hints of the body with its content.
    pub(crate) fn check_claims(&self) {
        let frames = self.pieces + usize::from(self.trailers.is_some() || self.error.is_some());
        for claim in &self.claims {
            let left = self.data.len() as u64 - claim.data;
            let most = claim.upper.unwrap_or(u64::MAX);
            assert!(claim.lower <= most, "{claim:?}");
            assert!(left <= most, "{left} bytes came after {claim:?}");
            // The full length of a body that was cut is unknown.
            if self.ended && self.error.is_none() {
                assert!(claim.lower <= left, "{left} bytes came after {claim:?}");
            }
            assert!(!claim.end || claim.frames == frames, "not the end: {claim:?} of {self:?}");
        }
    }

    /// Returns the size hint of the body before it was read.
    pub(crate) fn first_claim(&self) -> Claim {
        self.claims[0]
    }
}

/// Reads a body, or its beginning.
pub(crate) async fn listen<B>(body: B, read: Read) -> Heard
where
    B: Body<Data = Bytes>,
    B::Error: Display,
{
    let mut body = pin!(body);
    let mut heard = Heard::default();
    loop {
        let hint = body.size_hint();
        let frames = heard.pieces + usize::from(heard.trailers.is_some());
        heard.claims.push(Claim {
            lower: hint.lower(),
            upper: hint.upper(),
            end: body.is_end_stream(),
            data: heard.data.len() as u64,
            frames,
        });
        if read == Read::Frames(frames) {
            return heard;
        }
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => heard.ended = true,
            Some(Err(error)) => {
                heard.error = Some(error.to_string());
                heard.ended = true;
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    heard.data.extend_from_slice(&data);
                    heard.pieces += 1;
                }
                Err(frame) => heard.trailers = frame.into_trailers().ok(),
            },
        }
        if heard.ended {
            return heard;
        }
    }
}

/// A recorded attempt.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) head: request::Parts,
    pub(crate) at: Instant,
    /// Empty until the body was read.
    pub(crate) heard: Heard,
}

#[derive(Debug, Default)]
struct Inner {
    came: Vec<Came>,
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
    /// Builds a sink that reads these parts and answers with these statuses; then reads all, and answers 200.
    pub(crate) fn script(script: impl IntoIterator<Item = (Read, u16)>) -> Self {
        let inner = Inner { script: script.into_iter().collect(), ..Inner::default() };
        Self { inner: Arc::new(Mutex::new(inner)), ready: false, body: PhantomData }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.lock().came.clone()
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.came().into_iter().map(|came| came.heard).collect()
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock().came.len()
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
        let nth = inner.came.len();
        inner.came.push(Came { head, at: Instant::now(), heard: Heard::default() });
        let (read, status) = inner.script.pop_front().unwrap_or((Read::All, 200));
        drop(inner);
        let inner = self.inner.clone();
        Box::pin(async move {
            let heard = listen(body, read).await;
            inner.lock().unwrap_or_else(PoisonError::into_inner).came[nth].heard = heard;
            Ok(Response::builder().status(status).body(Full::default()).unwrap())
        })
    }
}
