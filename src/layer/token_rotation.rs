//! The layer that puts a credential of the pool on each request.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    build_error::BuildError,
    shell::{common_setters, layer_and_service, limit_setters},
};
use crate::{
    body::{Buffered, BufferedAs, Cloned, FailoverBody, Keep, PeekLimits, SendOnce, Spare},
    classify::{Cause, Classifier},
    driver::{AuthFailureMode, Config, Driver, ResponseFuture, Settings},
    pool::Pool,
    stage::rotation::Rotation,
};

layer_and_service! {
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
    /// [`AuthShortCircuitLayer`](crate::AuthShortCircuitLayer) with the same pool when anything queues between the two. Outside
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
limit_setters!(TokenRotationLayer);

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
