//! The reference stack: keep a `Request::clone`, replace one header.

use std::task::{Context, Poll};

use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower::Service;

use crate::upstream::Body;

#[derive(Clone)]
pub struct OneClone<S> {
    inner: S,
    value: HeaderValue,
}

impl<S> OneClone<S> {
    pub fn new(inner: S) -> Self {
        let value = HeaderValue::from_str("Bearer tok-0-0123456789abcdef0123456789").unwrap();
        // Shared from the start, like an account's value.
        let _ = value.clone();
        Self { inner, value }
    }
}

/// Holds the clone for the duration of the call.
pub struct Kept<F>(F, #[allow(dead_code)] Request<Body>);

impl<F: Future + Unpin> Future for Kept<F> {
    type Output = F::Output;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<S: Service<Request<Body>, Future: Unpin>> Service<Request<Body>> for OneClone<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Kept<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let kept = request.clone();
        request.headers_mut().insert(AUTHORIZATION, self.value.clone());
        Kept(self.inner.call(request), kept)
    }
}
