//! The code that all layers share, written once: a layer and a service around the driver, and the
//! setters.

/// Adds the setters that all layers and the builder share.
///
/// The type has a field `settings: Settings` and a method `body_strategy`.
macro_rules! common_setters {
    ($Layer:ident) => {
        impl<K> $Layer<K> {
            /// Sends every request once: for bodies and services that are not `Clone`.
            ///
            /// A service that cannot be cloned cannot be called later either: a request that needs
            /// a token that is still being fetched does not wait for it, and is answered with
            /// `not_ready`. Await [`Pool::wait_ready`](crate::Pool::wait_ready) first.
            pub fn send_once(self) -> $Layer<$crate::body::SendOnce> {
                self.body_strategy($crate::body::SendOnce)
            }

            /// Reads request bodies before they are sent, up to `cap` bytes, and keeps them: for
            /// streaming bodies.
            ///
            /// The inner service is called with a [`ReplayBody`](crate::body::ReplayBody): build a
            /// client of hyper-util with `build_http::<ReplayBody<B>>()`.
            pub fn buffered(self, cap: usize) -> $Layer<$crate::body::Buffered> {
                self.body_strategy($crate::body::Buffered::up_to(cap))
            }

            /// Like [`buffered`](Self::buffered), for an inner service with a body type of its
            /// own: `map` converts the [`ReplayBody`](crate::body::ReplayBody).
            pub fn buffered_as<F>(self, cap: usize, map: F) -> $Layer<$crate::body::BufferedAs<F>> {
                self.body_strategy($crate::body::BufferedAs::new(cap, map))
            }

            /// Sets the classifier, which decides what answers and errors mean.
            pub fn classifier(mut self, classifier: $crate::classify::Classifier) -> Self {
                self.settings.classifier = classifier;
                self
            }

            /// Sets how much of an error body is read to classify the answer (64 KiB), and for how
            /// long (2 s). The body that is passed on is complete.
            pub fn error_body(mut self, bytes: usize, time: ::std::time::Duration) -> Self {
                self.settings.peek = $crate::body::PeekLimits { bytes, time };
                self
            }

            /// Sets what the caller receives when the upstream rejects a credential of the pool.
            pub fn auth_failure(mut self, mode: $crate::driver::AuthFailureMode) -> Self {
                self.settings.mode = mode;
                self
            }

            /// Sets a function that builds local answers; where it returns `None`, the default
            /// answer is used.
            ///
            /// `Retry-After`, `x-failover-auth` and the [`Cause`](crate::Cause) are added to its answer.
            pub fn local_answer<F>(mut self, hook: F) -> Self
            where
                F: Fn(&$crate::classify::Cause) -> Option<::http::Response<::bytes::Bytes>>
                    + Send
                    + Sync
                    + 'static,
            {
                self.settings.hook = Some(::std::sync::Arc::new(hook));
                self
            }

            /// Sets whether [`ServedBy`](crate::ServedBy) is added to the response's extensions.
            /// Default: `false`.
            pub fn served_by(mut self, add: bool) -> Self {
                self.settings.served_by = add;
                self
            }

            /// Removes this type from the extensions of all attempts but the first: for values that
            /// can be used once. With the feature `hyper`, its upgrade handle is removed by default.
            pub fn first_attempt_only<T: Send + Sync + 'static>(mut self) -> Self {
                self.settings.deny.push(|extensions: &mut ::http::Extensions| {
                    extensions.remove::<T>();
                });
                self
            }
        }
    };
}

/// Adds the setters of layers that may resend a request, and of the builder.
macro_rules! limit_setters {
    ($Layer:ident) => {
        impl<K> $Layer<K> {
            /// Sets how many attempts one request may make in all (4), for any reason; the first
            /// one counts.
            ///
            /// Of several layers in one stack the smallest number that was set holds for all.
            pub fn attempts(mut self, attempts: ::std::num::NonZeroU32) -> Self {
                self.settings.attempts = attempts.get();
                self.settings.set.attempts = Some(attempts.get());
                self
            }

            /// Sets how long after the request's arrival an attempt may still start (60 s).
            ///
            /// An attempt in flight is never cut: put a timeout below for that. Of several layers in
            /// one stack the earliest deadline that was set holds for all.
            pub fn deadline(mut self, after: ::std::time::Duration) -> Self {
                self.settings.deadline = after;
                self.settings.set.deadline = Some(after);
                self
            }
        }
    };
}

/// Writes a layer and its service around the driver.
macro_rules! layer_and_service {
    (
        $(#[$layer_doc:meta])* layer $Layer:ident,
        $(#[$service_doc:meta])* service $Service:ident,
        stages $Stages:ty, keep $Keep:ty
    ) => {
        $(#[$layer_doc])*
        ///
        /// # Clone
        ///
        /// The services of a layer and of its clones share its pool, its budget, the rejected
        /// credentials that it remembers, and its reporter.
        ///
        /// # Inner service
        ///
        /// The layer wraps any service. The result serves `http::Request` if the inner service
        /// does. A `reqwest::Client` serves `reqwest::Request`: wrap it first, as
        /// `adapter::ReqwestService::new(client)`.
        #[derive(Clone, Debug)]
        #[must_use = "a layer does nothing until it is applied to a service"]
        pub struct $Layer<K = $Keep> {
            pub(crate) stages: $Stages,
            pub(crate) keep: K,
            pub(crate) settings: $crate::driver::Settings,
        }

        $crate::layer::shell::common_setters!($Layer);

        impl<K> $Layer<K> {
            /// Sets how request bodies are kept for another attempt.
            pub fn body_strategy<L>(self, keep: L) -> $Layer<L> {
                $Layer { stages: self.stages, keep, settings: self.settings }
            }
        }

        impl<S, K: $crate::body::Spare<S> + Clone> ::tower_layer::Layer<S> for $Layer<K> {
            type Service = $Service<S, K>;

            fn layer(&self, inner: S) -> $Service<S, K> {
                let config = $crate::driver::Config::new(
                    self.stages.clone(),
                    self.keep.clone(),
                    self.settings.clone(),
                );
                $Service { driver: $crate::driver::Driver::new(inner, config) }
            }
        }

        $(#[$service_doc])*
        ///
        /// # Clone
        ///
        /// Costs a clone of the inner service and an `Arc`. Clones share what the layer shares; each
        /// must be polled ready for itself, as tower requires.
        ///
        /// # Cancel safety
        ///
        /// That of its future, [`ResponseFuture`](crate::failover::ResponseFuture). A service that
        /// was polled ready and is dropped holds only what the inner service reserved.
        pub struct $Service<S, K = $Keep> { // over reqwest? use `ReqwestService::new(client)`
            driver: $crate::driver::Driver<S, $Stages, K>,
        }

        impl<S, K> $Service<S, K> {
            /// Returns a reference to the inner service.
            pub fn get_ref(&self) -> &S {
                self.driver.get_ref()
            }

            /// Returns a mutable reference to the inner service.
            ///
            /// Further attempts are made on clones of the service to which the layer was applied:
            /// a change made here does not reach them.
            pub fn get_mut(&mut self) -> &mut S {
                self.driver.get_mut()
            }

            /// Returns the inner service.
            pub fn into_inner(self) -> S {
                self.driver.into_inner()
            }
        }

        impl<S: Clone, K> Clone for $Service<S, K> {
            fn clone(&self) -> Self {
                Self { driver: self.driver.clone() }
            }
        }

        impl<S: ::std::fmt::Debug, K: ::std::fmt::Debug> ::std::fmt::Debug for $Service<S, K> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_tuple(stringify!($Service)).field(&self.driver).finish()
            }
        }

        impl<S, K, B, RB> ::tower_service::Service<::http::Request<B>> for $Service<S, K>
        where
            S: ::tower_service::Service<
                ::http::Request<K::Out>,
                Response = ::http::Response<RB>,
            >,
            S::Error: 'static,
            RB: ::http_body::Body<Data = ::bytes::Bytes>,
            K: $crate::body::Keep<B> + $crate::body::Spare<S>,
        {
            type Response = ::http::Response<$crate::body::FailoverBody<RB>>;
            type Error = S::Error;
            type Future = $crate::driver::ResponseFuture<S, $Stages, K, B, RB>;

            #[inline]
            fn poll_ready(
                &mut self,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<Result<(), S::Error>> {
                ::tower_service::Service::<::http::Request<B>>::poll_ready(&mut self.driver, cx)
            }

            #[inline]
            fn call(&mut self, request: ::http::Request<B>) -> Self::Future {
                ::tower_service::Service::call(&mut self.driver, request)
            }
        }
    };
}

pub(crate) use common_setters;
pub(crate) use layer_and_service;
pub(crate) use limit_setters;
