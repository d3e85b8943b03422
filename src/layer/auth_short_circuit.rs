//! The layer that keeps rejected credentials from being sent.

use http::HeaderName;

use super::shell::layer_and_service;
use crate::{
    body::SendOnce,
    driver::Settings,
    pool::Pool,
    stage::gate::{self, Gate},
};

layer_and_service! {
    /// Keeps rejected credentials from being sent: such a request is answered locally at once.
    ///
    /// 1. With a pool, the pool's state decides: when none of its accounts is usable, the request is
    ///    answered without an upstream call.
    /// 2. Without a pool, the layer remembers the credentials it has seen rejected, by a keyed hash of
    ///    origin, header and value: for 5 s at first (revoked: 1 h), doubled by each rejected probe up
    ///    to 1 h (24 h). At most 10,000 credentials are remembered. It covers credentials that a
    ///    [`TokenRotationLayer`](crate::TokenRotationLayer) put on the request, and the caller's own
    ///    only with [`any_credential`](AuthShortCircuitLayer::any_credential).
    ///
    /// # Position
    ///
    /// Innermost, directly above the client: no layer that waits may stand between it and the
    /// client. It holds across requests, and below a retry of another crate.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::AuthShortCircuitLayer;
    ///
    /// # fn stack<S>(client: S) {
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
    /// Creates a layer that remembers the rejected credentials it has seen.
    pub fn new() -> Self {
        let gate = Gate::without_pool(false, gate::default_credential_headers(), gate::REMEMBERED);
        Self::with_gate(gate, Settings::default())
    }

    /// Creates a layer that reads the state of this pool's accounts.
    pub fn with_pool(pool: Pool) -> Self {
        let mut settings = Settings::default();
        settings.set_pool(&pool);
        Self::with_gate(Gate::with_pool(pool), settings)
    }

    fn with_gate(stages: Gate, settings: Settings) -> Self {
        // It never resends, so no layer below needs the handle.
        Self { stages, keep: SendOnce, settings: Settings { announce: false, ..settings } }
    }
}

impl<K> AuthShortCircuitLayer<K> {
    /// Covers the caller's own credentials too, remembering those that were rejected. A pool's state
    /// is no longer read.
    pub fn any_credential(mut self) -> Self {
        self.stages =
            Gate::without_pool(true, gate::default_credential_headers(), gate::REMEMBERED);
        self
    }

    /// Like [`any_credential`](Self::any_credential), for credentials in these headers, remembering
    /// at most `capacity` rejected ones. Default: `authorization`, `x-api-key`, `api-key` and
    /// `x-goog-api-key`.
    pub fn credentials_in(
        mut self,
        headers: impl IntoIterator<Item = HeaderName>,
        capacity: usize,
    ) -> Self {
        self.stages = Gate::without_pool(true, headers.into_iter().collect(), capacity);
        self
    }
}

impl Default for AuthShortCircuitLayer {
    fn default() -> Self {
        Self::new()
    }
}
