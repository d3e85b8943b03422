//! The shell that all layers have: a layer and a service around the driver, written once.

/// Adds the setters that all layers and the builder have, over a field `common` and a method `body_strategy`.
macro_rules! common_setters {
    ($Settings:ident) => {
        impl<K> $Settings<K> {
            /// Sends every request once: for bodies and services that are not `Clone`.
            ///
            /// What cannot be cloned cannot be called later either: such a request does not wait for a
            /// token that is on its way, it is `not_ready` at once. Await
            /// [`Pool::wait_ready`](crate::Pool::wait_ready) first.
            pub fn send_once(self) -> $Settings<SendOnce> {
                self.body_strategy(SendOnce)
            }

            /// Reads request bodies before they are sent, up to this many bytes, and keeps them: for
            /// bodies that stream. The service below is called with a [`ReplayBody`](crate::body::ReplayBody):
            /// a client of hyper-util is built with `build_http::<ReplayBody<B>>()`.
            pub fn buffered(self, cap: usize) -> $Settings<Buffered> {
                self.body_strategy(Buffered::up_to(cap))
            }

            /// The same as [`buffered`](Self::buffered), for a service below that wants another type
            /// of body: what this function makes of it.
            pub fn buffered_as<F>(self, cap: usize, map: F) -> $Settings<BufferedAs<F>> {
                self.body_strategy(BufferedAs::new(cap, map))
            }

            /// What answers and errors mean.
            pub fn classifier(mut self, classifier: Classifier) -> Self {
                self.common.classifier = classifier;
                self
            }

            /// How much of an error body is read to find out what the answer means (64 KiB), and for
            /// how long (2 s). What is read is given on whole.
            pub fn error_body(mut self, bytes: usize, time: Duration) -> Self {
                self.common.peek = PeekLimits { bytes, time };
                self
            }

            /// What becomes of an upstream's refusal of one of the pool's credentials.
            pub fn auth_failure(mut self, mode: AuthFailureMode) -> Self {
                self.common.mode = mode;
                self
            }

            /// Replaces local answers by the user's own; `None` keeps the usual one.
            ///
            /// `Retry-After`, `x-failover-auth` and the [`Cause`] are added to it.
            pub fn local_answer<F>(mut self, hook: F) -> Self
            where
                F: Fn(&Cause) -> Option<Response<Bytes>> + Send + Sync + 'static,
            {
                self.common.hook = Some(Arc::new(hook));
                self
            }

            /// Whether the response's extensions tell who [served](crate::ServedBy) the request.
            pub fn served_by(mut self, add: bool) -> Self {
                self.common.served_by = add;
                self
            }

            /// Keeps this type out of the extensions of all attempts but the first: for what can be
            /// used once. With the feature `hyper`, its upgrade handle is kept out already.
            pub fn first_attempt_only<T: Send + Sync + 'static>(mut self) -> Self {
                self.common.deny.push(|extensions: &mut Extensions| {
                    extensions.remove::<T>();
                });
                self
            }
        }
    };
}

/// Writes a layer and its service around the driver: the same shell for each.
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
        /// Services of a layer and of its clones share what it knows: its pool, its budget, the
        /// credentials it has seen refused, its reporter.
        ///
        /// # Service below
        ///
        /// The layer wraps any service. The result serves `http::Request` if the service below
        /// does. A `reqwest::Client` serves `reqwest::Request`: wrap it first, as
        /// `adapter::ReqwestService::new(client)`.
        #[derive(Clone, Debug)]
        #[must_use = "a layer does nothing until it is applied to a service"]
        pub struct $Layer<K = $Keep> {
            pub(crate) stages: $Stages,
            pub(crate) keep: K,
            pub(crate) common: Settings,
        }

        common_setters!($Layer);

        impl<K> $Layer<K> {
            /// Keeps request bodies for another attempt in this way.
            pub fn body_strategy<L>(self, keep: L) -> $Layer<L> {
                $Layer { stages: self.stages, keep, common: self.common }
            }
        }

        impl<S, K: Spare<S> + Clone> Layer<S> for $Layer<K> {
            type Service = $Service<S, K>;

            fn layer(&self, inner: S) -> $Service<S, K> {
                let config =
                    Config::new(self.stages.clone(), self.keep.clone(), self.common.clone());
                $Service { driver: Driver::new(inner, config) }
            }
        }

        $(#[$service_doc])*
        ///
        /// # Clone
        ///
        /// As costly as a clone of the service below, and an `Arc`. Clones share what the layer
        /// knows; each must be made ready for itself, as tower has it.
        ///
        /// # Cancel safety
        ///
        /// That of its future, [`ResponseFuture`](crate::failover::ResponseFuture). A service that was made
        /// ready and is dropped holds nothing but what the service below gave it.
        pub struct $Service<S, K = $Keep> { // over reqwest? use `ReqwestService::new(client)`
            driver: Driver<S, $Stages, K>,
        }

        impl<S, K> $Service<S, K> {
            /// The service below.
            pub fn get_ref(&self) -> &S {
                self.driver.get_ref()
            }

            /// The service below.
            ///
            /// Further attempts are made on clones of the service as it was when the layer was
            /// applied: what is changed here does not reach them.
            pub fn get_mut(&mut self) -> &mut S {
                self.driver.get_mut()
            }

            /// The service below.
            pub fn into_inner(self) -> S {
                self.driver.into_inner()
            }
        }

        impl<S: Clone, K> Clone for $Service<S, K> {
            fn clone(&self) -> Self {
                Self { driver: self.driver.clone() }
            }
        }

        impl<S: fmt::Debug, K: fmt::Debug> fmt::Debug for $Service<S, K> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Service)).field(&self.driver).finish()
            }
        }

        impl<S, K, B, RB> Service<Request<B>> for $Service<S, K>
        where
            S: Service<Request<K::Out>, Response = Response<RB>>,
            S::Error: 'static,
            RB: Body<Data = Bytes>,
            K: Keep<B> + Spare<S>,
        {
            type Response = Response<FailoverBody<RB>>;
            type Error = S::Error;
            type Future = ResponseFuture<S, $Stages, K, B, RB>;

            #[inline]
            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                Service::<Request<B>>::poll_ready(&mut self.driver, cx)
            }

            #[inline]
            fn call(&mut self, request: Request<B>) -> Self::Future {
                self.driver.call(request)
            }
        }
    };
}

/// Adds the setters of layers that may send a request again.
macro_rules! limit_setters {
    ($Layer:ident) => {
        impl<K> $Layer<K> {
            /// How many attempts one request may make in all (4), whatever the reason. Of several
            /// layers in one stack the smallest number that was set holds for all.
            ///
            /// # Errors
            ///
            /// When it is 0: the first attempt counts.
            pub fn attempts(mut self, attempts: u32) -> Result<Self, BuildError> {
                self.common.attempts = BuildError::attempts(attempts)?;
                self.common.set.attempts = Some(attempts);
                Ok(self)
            }

            /// No attempt starts later than this after the request came in (60 s). An attempt in
            /// flight is never cut: put a timeout below for that. Of several layers in one stack
            /// the earliest deadline that was set holds for all.
            pub fn deadline(mut self, after: Duration) -> Self {
                self.common.deadline = after;
                self.common.set.deadline = Some(after);
                self
            }
        }
    };
}

pub(crate) use layer_and_service;
pub(crate) use limit_setters;
pub(crate) use common_setters;
