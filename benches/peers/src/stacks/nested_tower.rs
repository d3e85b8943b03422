//! A stack hand-written from tower's parts: fallback, retry and rotation, each a `Retry`.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use tower::{Service, ServiceBuilder, retry::Policy};

use super::{
    keys::{Keys, with_next_model},
    tower_retry::Transient,
};
use crate::upstream::{Body, bytes_of};

/// Fallback outside, then retry, then a key on the request, then the next key after a 401.
pub fn stack<S, B>(
    upstream: S,
    keys: &Arc<Keys>,
) -> impl Service<
    Request<Body>,
    Response = Response<B>,
    Error = S::Error,
    Future = impl Future<Output = Result<Response<B>, S::Error>> + Send + use<S, B>,
> + Clone
+ Send
+ use<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Future: Send, Error: Send> + Clone + Send,
    B: Send,
{
    ServiceBuilder::new()
        .retry(Fallback)
        .retry(Transient::at_once())
        .map_request(authorize(keys.clone()))
        .retry(Rotation { keys: keys.clone(), left: 3 })
        .service(upstream)
}

/// Puts a key on the request.
pub fn authorize(keys: Arc<Keys>) -> impl Fn(Request<Body>) -> Request<Body> + Clone + Send {
    move |mut request| {
        if let Some(value) = keys.choose() {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }
}

/// After a 529: the next model.
#[derive(Clone)]
pub struct Fallback;

impl<B, E> Policy<Request<Body>, Response<B>, E> for Fallback {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Ready<()>> {
        if result.as_ref().ok()?.status().as_u16() != 529 {
            return None;
        }
        *request.body_mut() = with_next_model(&bytes_of(request.body()))?.into();
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// After a 401: the next key.
#[derive(Clone)]
pub struct Rotation {
    pub keys: Arc<Keys>,
    pub left: u32,
}

impl<B, E> Policy<Request<Body>, Response<B>, E> for Rotation {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request<Body>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Ready<()>> {
        if result.as_ref().ok()?.status() != StatusCode::UNAUTHORIZED {
            return None;
        }
        self.keys.reject(request.headers().get(AUTHORIZATION)?);
        self.left = self.left.checked_sub(1)?;
        request.headers_mut().insert(AUTHORIZATION, self.keys.choose()?);
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}
