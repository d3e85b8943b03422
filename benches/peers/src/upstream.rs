//! The upstream in this process: it answers at once with the next status of its script.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use tower::Service;

pub type Body = Full<Bytes>;

/// A service that costs nothing to clone.
#[derive(Clone, Copy, Debug)]
pub struct Upstream(&'static Script);

#[derive(Debug)]
struct Script {
    statuses: Vec<StatusCode>,
    /// With more than one status it is driven by one thread only.
    at: AtomicUsize,
    watched: AtomicBool,
    seen: Mutex<Vec<Seen>>,
}

/// One received attempt.
#[derive(Clone, Debug)]
pub struct Seen {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Upstream {
    /// Builds an upstream that repeats these statuses.
    pub fn new(statuses: &[u16]) -> Self {
        let statuses = statuses.iter().map(|status| StatusCode::from_u16(*status).unwrap());
        Self(Box::leak(Box::new(Script {
            statuses: statuses.collect(),
            at: AtomicUsize::new(0),
            watched: AtomicBool::new(false),
            seen: Mutex::default(),
        })))
    }

    /// Starts recording attempts and returns those recorded so far.
    pub fn watch(self, watch: bool) -> Vec<Seen> {
        self.0.watched.store(watch, Relaxed);
        std::mem::take(&mut self.0.seen.lock().unwrap())
    }

    /// Answers `request` and drops it.
    #[inline]
    pub fn answer<B>(self, headers: &HeaderMap, body: impl Fn() -> Bytes) -> Response<B>
    where
        B: From<Bytes>,
    {
        if self.0.watched.load(Relaxed) {
            let seen = Seen { headers: headers.clone(), body: body() };
            self.0.seen.lock().unwrap().push(seen);
        }
        let status = match &*self.0.statuses {
            [one] => *one,
            many => {
                let at = self.0.at.load(Relaxed);
                self.0.at.store((at + 1) % many.len(), Relaxed);
                many[at]
            }
        };
        let mut response = Response::new(B::from(Bytes::from_static(b"{\"ok\":true}")));
        *response.status_mut() = status;
        response
    }
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = self.answer(request.headers(), || bytes_of(request.body()));
        drop(request);
        ready(Ok(response))
    }
}

/// Returns the bytes of a `Full`.
pub fn bytes_of(body: &Body) -> Bytes {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    body.clone().collect().now_or_never().unwrap().unwrap().to_bytes()
}
