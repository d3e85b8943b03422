//! Turning a local answer into an error.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::classify::{Cause, FailureError};

/// Returns the typed cause of a local answer, or of an upstream's rejection of a credential of the
/// pool.
///
/// The cause passes through every layer that keeps a response's extensions. [`Cause::origin`] says who
/// answered: the header `x-failover-auth` is the same in both cases.
///
/// ```
/// use tower_failover::{Cause, Code, failure};
///
/// let mut response = http::Response::new(());
/// assert!(failure(&response).is_none());
/// response.extensions_mut().insert(Cause::local(Code::PoolLimited));
/// assert_eq!(failure(&response).map(|cause| cause.code), Some(Code::PoolLimited));
/// ```
pub fn failure<B>(response: &Response<B>) -> Option<&Cause> {
    response.extensions().get()
}

/// Turns an answer that carries a [`Cause`] into an `Err`.
///
/// The error type must implement `From<FailureError>`, as `Box<dyn Error + Send + Sync>` does.
///
/// # Position
///
/// Outermost of all layers of this crate: layers outside of it receive an error in place of the
/// answer. A layer inside of which it stands classifies that error as the cause says; the answer's
/// headers and body are gone by then.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct FailureToErrLayer(());

impl FailureToErrLayer {
    /// Creates the layer.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for FailureToErrLayer {
    type Service = FailureToErr<S>;

    fn layer(&self, inner: S) -> FailureToErr<S> {
        FailureToErr { inner }
    }
}

/// The service of a [`FailureToErrLayer`].
///
/// # Clone
///
/// Costs a clone of the inner service; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct FailureToErr<S> {
    inner: S,
}

impl<S, B, RB> Service<Request<B>> for FailureToErr<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    S::Error: From<FailureError>,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = FailureToErrFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        FailureToErrFuture { inner: self.inner.call(request) }
    }
}

/// The response future of [`FailureToErr`].
///
/// # Cancel safety
///
/// That of the inner service's future; it has no state of its own.
#[pin_project]
pub struct FailureToErrFuture<F> {
    #[pin]
    inner: F,
}

impl<F, RB, E> Future for FailureToErrFuture<F>
where
    F: Future<Output = Result<Response<RB>, E>>,
    E: From<FailureError>,
{
    type Output = Result<Response<RB>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().inner.poll(cx))?;
        Poll::Ready(match failure(&answer) {
            Some(cause) => Err(FailureError::new(*cause, answer.status()).into()),
            None => Ok(answer),
        })
    }
}

impl<F> fmt::Debug for FailureToErrFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailureToErrFuture").finish_non_exhaustive()
    }
}
