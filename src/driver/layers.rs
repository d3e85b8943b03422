//! The layers and services that users name: each is the driver with its stage.

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

use super::{
    body::FailoverBody,
    buffer::{Buffered, BufferedAs},
    build_error::BuildError,
    config::{AuthFailureMode, Config, Settings},
    future::ResponseFuture,
    keep::{Cloned, InMemory, Keep, Once, Spare},
    peek::PeekLimits,
    service::Driver,
    shell::{named, resends, settings},
};
use crate::{
    classify::{Cause, Classifier},
    credential::Pool,
    stage::{
        ModelAt, ModelChain, Models,
        gate::{self, Gate},
        retry::RetryPolicy,
        rotation::Rotation,
    },
};

named! {
    /// Puts a credential of the pool on each request; when it is refused, the next account serves.
    ///
    /// 1. A refused account is quarantined, a limited one rests; either way another one is tried at
    ///    once, and what was refused is not sent again for this request.
    /// 2. A credential of the caller's own is kept, replaced or refused, as the pool says.
    /// 3. When no account can serve, the newest answer goes out, or a
    ///    [local one](crate::failure) when nothing was sent.
    ///
    /// # Position
    ///
    /// Below everything that sends again for other reasons, above an
    /// [`AuthShortCircuitLayer`] with the same pool when anything queues between the two. Outside
    /// of a retry a re-sent request keeps its account, and a 401 is still never sent again.
    ///
    /// Two rotations in one stack are for pools of plain credentials: a base URI or a fixed header
    /// that the outer one has put on, the inner one cannot take off again. A gate goes below the
    /// innermost rotation of its pool: between two of them, it refuses what the inner one would
    /// have replaced.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::{Account, Credential, Pool, RetryLayer, TokenRotationLayer};
    ///
    /// # fn stack<S: Clone>(client: S) -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder()
    ///     .account(Account::new("alice", Credential::bearer("token-of-alice")?))
    ///     .account(Account::new("bob", Credential::bearer("token-of-bob")?))
    ///     .origins(["https://api.example.com"])
    ///     .build()?;
    /// let stack = ServiceBuilder::new()
    ///     .layer(RetryLayer::default())
    ///     .layer(TokenRotationLayer::new(pool))
    ///     .service(client);
    /// # Ok(())
    /// # }
    /// ```
    layer TokenRotationLayer,
    /// The service of a [`TokenRotationLayer`].
    service TokenRotation,
    stages Rotation, keep Cloned
}
resends!(TokenRotationLayer);

impl TokenRotationLayer {
    /// Rotates over the accounts of this pool.
    pub fn new(pool: Pool) -> Self {
        let mut common = Settings::default();
        common.know(&pool);
        Self { stages: Rotation::new(pool), keep: Cloned, common }
    }
}

impl<K> TokenRotationLayer<K> {
    /// How many accounts may be refused for one request (3): a request that is itself the reason
    /// for the refusals must not take the whole pool with it.
    ///
    /// # Errors
    ///
    /// When it is 0.
    pub fn max_refusals(mut self, refusals: u32) -> Result<Self, BuildError> {
        self.stages.max_refusals = BuildError::refusals(refusals)?;
        Ok(self)
    }

    /// Whether a 403 that says nothing of the token is tried with another account. False by default.
    pub fn rotate_forbidden(mut self, rotate: bool) -> Self {
        self.stages.forbidden = rotate;
        self
    }
}

named! {
    /// Refuses to send a credential that is known to be dead, and answers in the upstream's place.
    ///
    /// 1. With a pool, the pool knows what is dead. When it has nothing usable left, the request is
    ///    answered at once.
    /// 2. Without a pool, the layer remembers what it has seen refused, by a keyed hash of origin,
    ///    header and value: 5 s at first (revoked: 1 h), doubling with each refused probe up to 1 h
    ///    (24 h). At most 10,000 credentials are remembered. It covers credentials that a
    ///    [`TokenRotationLayer`] put on the request, and the caller's own only with
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
    stages Gate, keep Once
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
        Self { stages, keep: Once, common: Settings { announce: false, ..common } }
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

named! {
    /// Sends again what is transient, as a [`RetryPolicy`] says. Never after a 401.
    ///
    /// # Position
    ///
    /// Outside of a [`TokenRotationLayer`], so that each retry may use another account.
    ///
    /// Below another layer that sends again, each of that layer's sends has all retries of this one,
    /// within the attempts that hold for both.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::{RetryLayer, RetryPolicy};
    ///
    /// # fn stack<S: Clone>(client: S) -> Result<(), tower_failover::BuildError> {
    /// let layer = RetryLayer::new(RetryPolicy::new().retries(3)).attempts(4)?;
    /// let stack = ServiceBuilder::new().layer(layer).service(client);
    /// # Ok(())
    /// # }
    /// ```
    layer RetryLayer,
    /// The service of a [`RetryLayer`].
    service Retry,
    stages RetryPolicy, keep Cloned
}
resends!(RetryLayer);

impl RetryLayer {
    /// Retries as this policy says; its classifier is used too.
    pub fn new(policy: RetryPolicy) -> Self {
        let classifier = policy.settings.classifier.clone();
        let common = Settings { classifier, ..Settings::default() };
        Self { stages: policy, keep: Cloned, common }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new(RetryPolicy::default())
    }
}

named! {
    /// When a model cannot serve, sends the caller's own request again with the next one.
    ///
    /// 1. The next model of the [`ModelChain`] is tried after a fault of the model (not found,
    ///    overloaded, too long, forbidden), and after a limit or a transient fault that nothing
    ///    inside could do anything about. Never after a 401.
    /// 2. What the upstream [may have done](crate::Delivery::PerhapsDone) is not sent to another
    ///    model either, unless doing it twice is harmless.
    /// 3. Models that only dead or resting accounts could serve are passed over, where the layer
    ///    knows the [pool](ModelFallbackLayer::pool).
    /// 4. The request is the caller's own, byte for byte, but for the model's name
    ///    (see [`ModelAt`]).
    ///
    /// # Position
    ///
    /// Outside of retry and rotation: another model is the last resort.
    ///
    /// Inside of one of them, a model is given up before the wait, or the other
    /// account, that would have served it.
    ///
    /// ```
    /// use tower::ServiceBuilder;
    /// use tower_failover::{ModelChain, ModelFallbackLayer, RetryLayer};
    ///
    /// # fn stack<S: Clone>(client: S) -> Result<(), Box<dyn std::error::Error>> {
    /// let chain = ModelChain::list(["large", "medium", "small"])?; // best first
    /// let stack = ServiceBuilder::new()
    ///     .layer(ModelFallbackLayer::new(chain))
    ///     .layer(RetryLayer::default())
    ///     .service(client);
    /// # Ok(())
    /// # }
    /// ```
    layer ModelFallbackLayer,
    /// The service of a [`ModelFallbackLayer`].
    service ModelFallback,
    stages Models, keep InMemory
}
resends!(ModelFallbackLayer);

impl ModelFallbackLayer {
    /// Falls back along this chain; the model is the member `model` of a JSON body.
    pub fn new(chain: ModelChain) -> Self {
        let stages = Models::new(chain);
        let common = Settings { model_at: Some(stages.at.clone()), ..Settings::default() };
        Self { stages, keep: InMemory, common }
    }
}

impl<K> ModelFallbackLayer<K> {
    /// Where requests name their model.
    pub fn model_at(mut self, at: ModelAt) -> Self {
        self.common.model_at = Some(at.clone());
        self.stages.at = at;
        self
    }

    /// Passes over models that none of this pool's accounts can serve now.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.stages.pool = Some(pool);
        self
    }
}
