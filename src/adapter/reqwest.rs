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
use reqwest::ResponseBuilderExt;
use tower_service::Service;

#[cfg(feature = "oauth")]
use crate::credential::OAuthHttp;

/// A [`reqwest::Client`] adapted to requests and responses of the crate `http`, which the layers of
/// this crate, and other tower layers, work on.
///
/// A `reqwest::Client` by itself is a service for `reqwest::Request`, so a layer over it compiles,
/// but the result is no service for `http::Request`. Wrap the client before a layer is applied:
/// `layer.layer(ReqwestService::new(client))`.
///
/// 1. Any body of bytes is accepted and is streamed if it streams. A `reqwest::Body` is not wrapped
///    a second time; reqwest treats any other body as one that streams.
/// 2. The body of the response is a `reqwest::Body`. The extensions of the response are kept.
/// 3. The URL of the response is kept in its extensions, where `reqwest::Response::from` finds it.
///    If a credential is sent in the query, that URL contains it.
/// 4. Errors are those of reqwest. A status is never an error here. A URI without scheme and host
///    is an error, and nothing is sent.
/// 5. The service is always ready, and clones share the connections of the client.
///
/// The layers cannot observe what reqwest does by itself. Turn off its redirects
/// (`redirect(Policy::none())`): reqwest sends a credential in a header of its own to the target of
/// a redirect. Turn off its retries (`retry(retry::never())`): otherwise one attempt may be two.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower::{Layer, Service};
/// use tower_failover::{adapter::ReqwestService, Failover, FailoverLayer, RetryPolicy};
///
/// # async fn send() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reqwest::Client::builder()
///     .redirect(reqwest::redirect::Policy::none())
///     .retry(reqwest::retry::never())
///     .build()?;
/// let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build()?;
/// let mut client: Failover<ReqwestService> = failover.layer(ReqwestService::new(client));
///
/// let request = http::Request::post("https://api.example.com/videos")
///     .body(Full::<Bytes>::from(r#"{"model": "large"}"#))?;
/// let answer: http::Response<_> = client.call(request).await?;
///
/// // Back to reqwest, with the URL of the answer:
/// let answer = reqwest::Response::from(answer);
/// println!("from {}", answer.url().path());
/// let video = answer.text().await?;
/// # drop(video);
/// # Ok(())
/// # }
/// # drop(send());
/// ```
///
/// A request that was built with reqwest is converted by `http::Request::<reqwest::Body>::try_from`.
/// A `reqwest::Body` is not `Clone`; the layers that send again keep it with
/// [`buffered`](crate::failover::FailoverBuilder::buffered).
///
/// With the feature `oauth`, `OAuthHttp::from(client)` sends the requests to a token endpoint.
#[derive(Clone, Debug, Default)]
pub struct ReqwestService {
    client: reqwest::Client,
}

/// The response future of [`ReqwestService`]. It is `Send`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReqwestFuture {
    #[pin]
    sent: Sent,
}

#[pin_project(project = SentProj)]
enum Sent {
    Pending(#[pin] <reqwest::Client as Service<reqwest::Request>>::Future),
    /// reqwest cannot represent the request.
    Refused(Option<reqwest::Error>),
}

impl ReqwestService {
    /// Builds a service that sends with this client.
    pub const fn new(client: reqwest::Client) -> Self {
        Self { client }
    }

    /// Returns the client.
    pub fn into_inner(self) -> reqwest::Client {
        self.client
    }
}

impl From<reqwest::Client> for ReqwestService {
    fn from(client: reqwest::Client) -> Self {
        Self::new(client)
    }
}

#[cfg(feature = "oauth")]
impl From<ReqwestService> for OAuthHttp {
    fn from(service: ReqwestService) -> Self {
        // The service accepts bodies of any type: one must be named.
        Self::new::<_, reqwest::Body, _>(service)
    }
}

#[cfg(feature = "oauth")]
impl From<reqwest::Client> for OAuthHttp {
    fn from(client: reqwest::Client) -> Self {
        ReqwestService::new(client).into()
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
            SentProj::Pending(answer) => Poll::Ready(Ok(with_url(ready!(answer.poll(cx))?))),
            SentProj::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// Converts the response, and puts its URL into the extensions, which reqwest's conversion drops.
fn with_url(answer: reqwest::Response) -> Response<reqwest::Body> {
    let url = answer.url().clone();
    let mut answer = Response::from(answer);
    // reqwest reads the URL from an extension of a private type; only this builder makes one.
    if let Ok(marked) = Response::builder().url(url).body(()) {
        answer.extensions_mut().extend(marked.into_parts().0.extensions);
    }
    answer
}

/// Converts a body. A `reqwest::Body` is returned as it is: reqwest may know that it is in memory.
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
    fn body_in_memory_of_reqwest_stays_in_memory() {
        assert_eq!(body(reqwest::Body::from("a film")).as_bytes(), Some(&b"a film"[..]));
        assert_eq!(body("a film".to_owned()).as_bytes(), None);
    }
}
