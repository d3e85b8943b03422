//! The one service with logic: every public service is a name for it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{config::Config, future::ResponseFuture};
use crate::{
    body::{FailoverBody, Keep, Spare},
    stage::Stage,
};

/// See the [module](self).
pub(crate) struct Driver<S, St, K> {
    inner: S,
    shared: Arc<Shared<S, St, K>>,
    readied: Readiness,
}

/// What a driver and the futures of its requests share.
pub(crate) struct Shared<S, St, K> {
    pub(crate) config: Config<St, K>,
    /// The service that those for further attempts are clones of. It is never called itself.
    prototype: Option<Mutex<S>>,
}

/// Whose readiness `poll_ready` answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Nothing was asked since the last call.
    Unasked,
    /// The inner service's.
    Inner,
    /// Nobody's: the request will most likely be answered here.
    Nobody,
}

impl Readiness {
    /// The service was not called: what it has set aside is still there.
    pub(crate) fn keep(self, ready: &mut Self) {
        if self == Self::Inner {
            *ready = self;
        }
    }
}

impl<S, St, K> Shared<S, St, K> {
    /// A service for one more attempt, not ready yet.
    pub(crate) fn spare(&self) -> Option<S>
    where
        K: Spare<S>,
    {
        let prototype = self.prototype.as_ref()?;
        let prototype = prototype.lock().unwrap_or_else(PoisonError::into_inner);
        self.config.keep.spare(&prototype)
    }

    pub(crate) const fn has_spare(&self) -> bool {
        self.prototype.is_some()
    }
}

impl<S, St, K: Spare<S>> Driver<S, St, K> {
    pub(crate) fn new(inner: S, config: Config<St, K>) -> Self {
        let prototype = config.keep.spare(&inner).map(Mutex::new);
        let shared = Arc::new(Shared { config, prototype });
        Self { inner, shared, readied: Readiness::Unasked }
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
        // Readiness is not inherited.
        Self { inner: self.inner.clone(), shared: self.shared.clone(), readied: Readiness::Unasked }
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
        // A dead pool answers although the service below is busy. Only where a service for the
        // unlikely other case can be made ready later.
        // What the inner service has set aside for a call is used, not asked for a second time.
        let held = self.readied == Readiness::Inner;
        if !held && self.shared.has_spare() && self.shared.config.stages.is_unavailable() {
            self.readied = Readiness::Nobody;
            return Poll::Ready(Ok(()));
        }
        self.readied = Readiness::Unasked;
        let polled = self.inner.poll_ready(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            self.readied = Readiness::Inner;
        }
        polled
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture::start(&mut self.inner, &self.shared, &mut self.readied, request)
    }
}
