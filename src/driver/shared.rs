//! The part of a driver that its clones and the futures of its requests share, and its readiness.

use std::{
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use tower_service::Service;

use super::config::Config;
use crate::{body::Spare, stage::Stage};

/// The configuration of a driver, and the prototype of the services for further attempts.
pub(crate) struct Shared<S, St, K> {
    pub(crate) config: Config<St, K>,
    /// The services for further attempts are clones of it. It is never called itself.
    prototype: Option<Mutex<S>>,
}

impl<S, St, K: Spare<S>> Shared<S, St, K> {
    /// Shares `config`, and a clone of `inner` where the request can be sent again.
    pub(crate) fn new(inner: &S, config: Config<St, K>) -> Self {
        let prototype = config.keep.spare(inner).map(Mutex::new);
        Self { config, prototype }
    }

    /// Returns a service for one more attempt. It has not been polled ready.
    pub(crate) fn spare(&self) -> Option<S> {
        let prototype = self.prototype.as_ref()?;
        let prototype = prototype.lock().unwrap_or_else(PoisonError::into_inner);
        self.config.keep.spare(&prototype)
    }
}

impl<S, St, K> Shared<S, St, K> {
    /// Returns whether [`spare`](Shared::spare) gives services.
    pub(crate) const fn has_spare(&self) -> bool {
        self.prototype.is_some()
    }
}

/// The readiness that the last `poll_ready` of a driver reported.
///
/// A driver whose pool is dead reports that it is ready although the inner service is busy: it
/// answers such a request itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// `poll_ready` has not succeeded since the last call.
    #[default]
    Unasked,
    /// The inner service is ready.
    Inner,
    /// The inner service was not polled: the request will most likely be answered locally.
    Local,
}

impl Readiness {
    /// Polls a driver ready.
    pub(crate) fn poll<S, St: Stage, K, R>(
        &mut self,
        inner: &mut S,
        shared: &Shared<S, St, K>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), S::Error>>
    where
        S: Service<R>,
    {
        // An inner service that is ready already may hold a permit for a call: it is used.
        // Without a spare, a request that must be sent after all could not wait for its service.
        if *self != Self::Inner && shared.has_spare() && shared.config.stages.is_unavailable() {
            *self = Self::Local;
            return Poll::Ready(Ok(()));
        }
        *self = Self::Unasked;
        let polled = inner.poll_ready(cx);
        if matches!(polled, Poll::Ready(Ok(()))) {
            *self = Self::Inner;
        }
        polled
    }
}

/// The inner service during a call of the driver, with the readiness that the call uses up.
pub(crate) struct Callee<'a, S> {
    inner: &'a mut S,
    readiness: &'a mut Readiness,
    was: Readiness,
}

impl<'a, S> Callee<'a, S> {
    #[inline]
    pub(crate) fn new(inner: &'a mut S, readiness: &'a mut Readiness) -> Self {
        let was = std::mem::take(readiness);
        Self { inner, readiness, was }
    }

    /// Returns whether the inner service was polled ready for this call.
    ///
    /// A driver that was not polled at all breaks tower's contract; its inner service is called.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.was != Readiness::Local
    }

    /// Calls the inner service.
    #[inline]
    pub(crate) fn call<R>(self, request: R) -> S::Future
    where
        S: Service<R>,
    {
        self.inner.call(request)
    }

    /// Takes the inner service for an attempt that is made later, and leaves `spare` in its place.
    ///
    /// The service that was polled ready is used, not its clone.
    pub(crate) fn take(self, spare: S) -> S {
        if self.is_ready() { std::mem::replace(self.inner, spare) } else { spare }
    }

    /// Puts the readiness back: the service is not called and still holds its permit.
    pub(crate) fn put_back(self) {
        if self.was == Readiness::Inner {
            *self.readiness = self.was;
        }
    }
}
