//! In-process upstreams with little overhead.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use tower::Service;

use super::Body;

/// A status and a JSON body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step(pub(crate) u16, pub(crate) &'static str);

pub(crate) const OK: Step = Step(200, r#"{"ok":true}"#);
pub(crate) const REFUSED: Step =
    Step(401, r#"{"error":{"type":"authentication_error","message":"invalid token"}}"#);
pub(crate) const UNAVAILABLE: Step = Step(503, r#"{"error":{"message":"try again"}}"#);
pub(crate) const OVERLOADED: Step =
    Step(529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#);

/// Always ready, always 200.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free;

impl<B> Service<Request<B>> for Free {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::new(Bytes::from_static(OK.1.as_bytes())))))
    }
}

/// An upstream that answers with its steps in order, from the last rewind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    steps: &'static [Step],
    at: &'static AtomicUsize,
}

impl Script {
    pub(crate) fn new(steps: &'static [Step]) -> Self {
        Self { steps, at: Box::leak(Box::default()) }
    }

    pub(crate) fn rewind(&self) {
        self.at.store(0, Relaxed);
    }

    /// Returns the number of attempts since the rewind.
    pub(crate) fn calls(&self) -> usize {
        self.at.load(Relaxed)
    }
}

impl<B> Service<Request<B>> for Script {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        // One thread drives it.
        let at = self.at.load(Relaxed);
        self.at.store(at + 1, Relaxed);
        let Step(status, text) = self.steps[at];
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        ready(Ok(response))
    }
}

/// An upstream that always fails with an error of this text.
#[derive(Clone, Debug)]
pub(crate) struct Fails(pub(crate) std::sync::Arc<str>);

/// An error with a given text.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(std::sync::Arc<str>);

impl<B> Service<Request<B>> for Fails {
    type Response = Response<Body>;
    type Error = Failure;
    type Future = Ready<Result<Response<Body>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Err(Failure(self.0.clone())))
    }
}
