//! Turning a local answer into an error, for callers that want one.

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

/// The typed cause of a local answer, or of an upstream's refusal of one of the pool's credentials.
///
/// It is found through every layer that leaves a response's extensions alone. Who answered is in
/// [`Cause::origin`]: the header `x-failover-auth` is the same in both cases.
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
/// The error is made by `E: From<FailureError>`, which `Box<dyn Error + Send + Sync>` is.
///
/// ```
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_failover::{adapter::FailureToErrLayer, Cause, Code};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let answers = service_fn(|_: http::Request<()>| async {
///     let mut answer = http::Response::new(());
///     answer.extensions_mut().insert(Cause::local(Code::CredentialRevoked));
///     Ok::<_, BoxError>(answer)
/// });
/// let service = ServiceBuilder::new().layer(FailureToErrLayer::new()).service(answers);
/// let error = service.oneshot(http::Request::new(())).await.unwrap_err();
/// assert!(error.to_string().contains("credential_revoked"));
/// # });
/// ```
///
/// # Position
///
/// The outermost of all layers of this crate: what stands outside of it sees an error where there
/// was an answer. Inside of one that reports or sends again, that one sees the error, and knows it
/// for the refusal that it is; the answer's headers and body are gone by then.
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is applied to a service"]
pub struct FailureToErrLayer(());

impl FailureToErrLayer {
    /// The layer.
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
/// As costly as a clone of the service below; there is no state of its own.
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
/// That of the future of the service below: there is no state of its own.
///
/// [`FailureToErrLayer`] has an example.
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
