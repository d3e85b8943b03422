//! The service that sends requests to a token endpoint.

use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
};

use ::http::{Request, Response, response};
use bytes::Bytes;
use http_body::Body;
use tower_service::Service;
use zeroize::Zeroizing;

type BoxError = Box<dyn Error + Send + Sync>;
type SendFuture = Pin<Box<dyn Future<Output = Result<CollectedResponse, BoxError>> + Send>>;

/// A head, with its collected body.
type CollectedResponse = (response::Parts, Zeroizing<Vec<u8>>);

/// The longest response that is read, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// The HTTP service that sends requests to a token endpoint: a hyper-util client, a
/// `reqwest::Client`, a stack of tower layers with a timeout and retries of its own.
///
/// It must not be a stack with the pool whose tokens are fetched: a request for a token carries no
/// credential of that pool.
///
/// With the feature `reqwest`, `OAuthHttp::from` takes a `reqwest::Client` or a `ReqwestService`:
///
/// ```
/// # #[cfg(feature = "reqwest")]
/// # {
/// use tower_failover::credential::OAuthHttp;
///
/// let http = OAuthHttp::from(reqwest::Client::new());
/// # drop(http);
/// # }
/// ```
///
/// See [`OAuthClient`](crate::credential::OAuthClient) for another service.
///
/// # Clone
///
/// Cheap; clones use clones of the same service.
#[derive(Clone)]
pub struct OAuthHttp {
    send: Arc<dyn Fn(Request<Bytes>) -> SendFuture + Send + Sync>,
}

impl OAuthHttp {
    /// Sends through `service`, whose request bodies can be made of bytes.
    ///
    /// A service that accepts bodies of any type leaves `B` open. Name one, as in
    /// `OAuthHttp::new::<_, Full<Bytes>, _>(service)`; for reqwest, use `OAuthHttp::from`.
    pub fn new<S, B, RB>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<RB>>, // reqwest? `OAuthHttp::from(client)`
        S: Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: From<Bytes>, // reqwest? `OAuthHttp::from(client)`
        RB: Body<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError>,
    {
        // The mutex makes a service shareable that is not `Sync`. It is only cloned under it.
        let service = Mutex::new(service);
        let send = move |request: Request<Bytes>| -> SendFuture {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let answer = service.call(request.map(B::from)).await.map_err(Into::into)?;
                let (head, body) = answer.into_parts();
                Ok((head, collect(body).await?))
            })
        };
        Self { send: Arc::new(send) }
    }

    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<CollectedResponse, BoxError> {
        (self.send)(request).await
    }
}

/// Collects a body, if it is not too long for a token.
async fn collect<B>(body: B) -> Result<Zeroizing<Vec<u8>>, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    // A large capacity at once, because a buffer that grows leaves copies that are not wiped.
    let mut all = Zeroizing::new(Vec::with_capacity(8 * 1024));
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        if all.len() + data.len() > MAX_LENGTH {
            return Err("the response of the token endpoint is too long".into());
        }
        all.extend_from_slice(&data);
    }
    Ok(all)
}

impl fmt::Debug for OAuthHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthHttp").finish_non_exhaustive()
    }
}
