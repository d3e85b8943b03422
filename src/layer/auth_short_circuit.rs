//! The layer that refuses to send a dead credential.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, HeaderName, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::shell::{common_setters, layer_and_service};
use crate::{
    body::{Buffered, BufferedAs, FailoverBody, Keep, PeekLimits, SendOnce, Spare},
    classify::{Cause, Classifier},
    driver::{AuthFailureMode, Config, Driver, ResponseFuture, Settings},
    pool::Pool,
    stage::gate::{self, Gate},
};

layer_and_service! {
    /// Refuses to send a credential that is known to be dead, and answers in the upstream's place.
    ///
    /// 1. With a pool, the pool knows what is dead. When it has nothing usable left, the request is
    ///    answered at once.
    /// 2. Without a pool, the layer remembers what it has seen refused, by a keyed hash of origin,
    ///    header and value: 5 s at first (revoked: 1 h), doubling with each refused probe up to 1 h
    ///    (24 h). At most 10,000 credentials are remembered. It covers credentials that a
    ///    [`TokenRotationLayer`](crate::TokenRotationLayer) put on the request, and the caller's own only with
    ///    [`any_credential`](AuthShortCircuitLayer::any_credential).
    ///
    /// # Position
    ///
    /// Innermost, right above the client: nothing that waits may come between it and the sending.
    /// It holds across requests, also under a foreign retry outside.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::AuthShortCircuitLayer;
    ///
    /// # fn stack<S>(client: S) {
    /// // Whatever retries outside of it, a credential that was refused is not sent again for a while.
    /// let stack = ServiceBuilder::new()
    ///     .layer(AuthShortCircuitLayer::new().any_credential())
    ///     .service(client);
    /// # }
    /// ```
    layer AuthShortCircuitLayer,
    /// The service of an [`AuthShortCircuitLayer`].
    service AuthShortCircuit,
    stages Gate, keep SendOnce
}

impl AuthShortCircuitLayer {
    /// A layer that remembers what it has seen.
    pub fn new() -> Self {
        Self::with_gate(Gate::seen(false, gate::usual_names(), 10_000), Settings::default())
    }

    /// A layer that asks this pool.
    pub fn with_pool(pool: Pool) -> Self {
        let mut common = Settings::default();
        common.know(&pool);
        Self::with_gate(Gate::pool(pool), common)
    }

    fn with_gate(stages: Gate, common: Settings) -> Self {
        // It never sends again, so nobody below needs to be told of it.
        Self { stages, keep: SendOnce, common: Settings { announce: false, ..common } }
    }
}

impl<K> AuthShortCircuitLayer<K> {
    /// Covers the caller's own credentials too. What a pool knew is not asked any more.
    pub fn any_credential(mut self) -> Self {
        self.stages = Gate::seen(true, gate::usual_names(), 10_000);
        self
    }

    /// Covers credentials in these headers, whoever put them there, and remembers at most
    /// `capacity` dead ones. By default `authorization`, `x-api-key`, `api-key` and `x-goog-api-key`.
    pub fn credentials_in(
        mut self,
        headers: impl IntoIterator<Item = HeaderName>,
        capacity: usize,
    ) -> Self {
        self.stages = Gate::seen(true, headers.into_iter().collect(), capacity);
        self
    }
}

impl Default for AuthShortCircuitLayer {
    fn default() -> Self {
        Self::new()
    }
}
