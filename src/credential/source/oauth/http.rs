//! The service that carries requests to a token endpoint.

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
type Answer = Pin<Box<dyn Future<Output = Result<Received, BoxError>> + Send>>;

/// A head, and as much of its body as a token needs.
type Received = (response::Parts, Zeroizing<Vec<u8>>);

/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// Any HTTP service, as the way to a token endpoint: a hyper-util client, reqwest behind an adapter,
/// a stack of tower layers with a timeout and retries of its own.
///
/// Take one without a pool in it: whoever fetches tokens has none to put on.
///
/// # Clone
///
/// Cheap; clones use clones of the same service.
///
/// [`OAuthClient`](crate::credential::OAuthClient) has an example.
#[derive(Clone)]
pub struct OAuthHttp {
    send: Arc<dyn Fn(Request<Bytes>) -> Answer + Send + Sync>,
}

impl OAuthHttp {
    /// Through `service`, whose request bodies are made of bytes.
    pub fn new<S, B, RB>(service: S) -> Self
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: From<Bytes>,
        RB: Body<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError>,
    {
        // A service need not be `Sync`, and is only cloned here.
        let service = Mutex::new(service);
        let send = move |request: Request<Bytes>| -> Answer {
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

    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Received, BoxError> {
        (self.send)(request).await
    }
}

/// The body, if it is not too long for a token.
async fn collect<B>(body: B) -> Result<Zeroizing<Vec<u8>>, BoxError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    // Room for most tokens at once: what a buffer leaves behind when it grows is not wiped.
    let mut all = Zeroizing::new(Vec::with_capacity(8 * 1024));
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(data) = frame.map_err(Into::into)?.into_data() else { continue };
        if all.len() + data.len() > LONGEST {
            return Err("the token endpoint's answer is too long".into());
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
