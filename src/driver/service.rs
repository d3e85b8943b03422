//! The service of every layer: all public services wrap this one.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    config::Config,
    future::ResponseFuture,
    shared::{Callee, Readiness, Shared},
};
use crate::{
    body::{FailoverBody, Keep, Spare},
    stage::Stage,
};

/// A service that sends requests, and sends them again when its stages ask for it.
pub(crate) struct Driver<S, St, K> {
    inner: S,
    shared: Arc<Shared<S, St, K>>,
    readiness: Readiness,
}

impl<S, St, K: Spare<S>> Driver<S, St, K> {
    pub(crate) fn new(inner: S, config: Config<St, K>) -> Self {
        let shared = Arc::new(Shared::new(&inner, config));
        Self { inner, shared, readiness: Readiness::Unasked }
    }
}

impl<S, St, K> Driver<S, St, K> {
    pub(crate) const fn get_ref(&self) -> &S {
        &self.inner
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, St, K> Clone for Driver<S, St, K> {
    fn clone(&self) -> Self {
        // A clone of a service is not ready.
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            readiness: Readiness::Unasked,
        }
    }
}

impl<S: fmt::Debug, St: fmt::Debug, K: fmt::Debug> fmt::Debug for Driver<S, St, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("inner", &self.inner)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl<S, St, K, B, RB> Service<Request<B>> for Driver<S, St, K>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    RB: Body<Data = Bytes>,
    St: Stage,
    K: Keep<B> + Spare<S>,
{
    type Response = Response<FailoverBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, St, K, B, RB>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.readiness.poll(&mut self.inner, &self.shared, cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let callee = Callee::new(&mut self.inner, &mut self.readiness);
        ResponseFuture::start(callee, &self.shared, request)
    }
}
