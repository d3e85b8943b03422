//! A `reqwest::Client` as a service for requests of the crate `http`.

use std::{
    any::Any,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

/// A [`reqwest::Client`] that takes and gives the messages of the crate `http`, so that this
/// crate's layers, and others, can be put on it.
///
/// 1. Any body of bytes is sent as it is; it streams where it does. A `reqwest::Body` is not
///    wrapped a second time, any other body is for reqwest one that streams.
/// 2. The answer's body is a `reqwest::Body`, its extensions are kept.
/// 3. The errors are reqwest's own. A status is never an error here. A URI without scheme and host
///    is one: nothing was sent.
/// 4. It is always ready, and clones share reqwest's connections.
///
/// What reqwest does by itself is out of sight of the layers outside. Turn its redirects off
/// (`redirect(Policy::none())`), or it carries a credential in a header of its own to wherever it
/// is sent; and its retries (`retry(retry::never())`), or an attempt may be two.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower::{Layer, Service};
/// use tower_failover::{adapter::ReqwestService, Failover, FailoverLayer, RetryPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build()?;
/// let mut client: Failover<ReqwestService> = failover.layer(client.into());
///
/// let request = http::Request::post("https://api.example.com/videos")
///     .body(Full::<Bytes>::from(r#"{"model": "large"}"#))?;
/// let answer = client.call(request); // `Result<http::Response<_>, reqwest::Error>`
/// # drop(answer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ReqwestService {
    client: reqwest::Client,
}

/// The response future of a [`ReqwestService`]. It is `Send`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReqwestFuture {
    #[pin]
    sent: Sent,
}

#[pin_project(project = SentProj)]
enum Sent {
    Pending(#[pin] <reqwest::Client as Service<reqwest::Request>>::Future),
    /// It is no request for reqwest.
    Refused(Option<reqwest::Error>),
}

impl ReqwestService {
    /// Sends with this client.
    pub const fn new(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// The client.
    pub fn into_inner(self) -> reqwest::Client {
        self.client
    }
}

impl From<reqwest::Client> for ReqwestService {
    fn from(client: reqwest::Client) -> Self {
        Self::new(client)
    }
}

impl<B> Service<Request<B>> for ReqwestService
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        Service::<reqwest::Request>::poll_ready(&mut self.client, cx)
    }

    fn call(&mut self, request: Request<B>) -> ReqwestFuture {
        let sent = match reqwest::Request::try_from(request.map(body)) {
            Ok(request) => Sent::Pending(self.client.call(request)),
            Err(error) => Sent::Refused(Some(error)),
        };
        ReqwestFuture { sent }
    }
}

impl Future for ReqwestFuture {
    type Output = Result<Response<reqwest::Body>, reqwest::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().sent.project() {
            SentProj::Pending(answer) => Poll::Ready(Ok(ready!(answer.poll(cx))?.into())),
            SentProj::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// reqwest's own body as it is: it may be one that reqwest knows to be in memory.
fn body<B>(body: B) -> reqwest::Body
where
    B: Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = Some(body);
    let own = (&mut body as &mut dyn Any).downcast_mut::<Option<reqwest::Body>>();
    match own.and_then(Option::take) {
        Some(own) => own,
        None => body.map(reqwest::Body::wrap).unwrap_or_default(),
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn a_body_that_reqwest_has_in_memory_stays_there() {
        assert_eq!(body(reqwest::Body::from("a film")).as_bytes(), Some(&b"a film"[..]));
        assert_eq!(body("a film".to_owned()).as_bytes(), None);
    }
}
