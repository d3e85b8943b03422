//! The layer that puts a credential of the pool on each request.

use std::num::NonZeroU32;

use super::shell::{layer_and_service, limit_setters};
use crate::{body::Cloned, driver::Settings, pool::Pool, stage::rotation::Rotation};

layer_and_service! {
    /// Puts a credential of the pool on each request; when it is rejected, uses the next account.
    ///
    /// 1. An account whose credential is rejected is quarantined, a limited one cools down. Either
    ///    way another account is tried at once, and the rejected credential is not sent again for
    ///    this request.
    /// 2. A credential of the caller's own is kept, replaced or refused, as the pool is set.
    /// 3. When no account can serve, the newest answer goes out, or a
    ///    [local one](crate::failure) when nothing was sent.
    ///
    /// # Position
    ///
    /// Below all layers that resend for other reasons; above an
    /// [`AuthShortCircuitLayer`](crate::AuthShortCircuitLayer) with the same pool where requests
    /// queue between the two. Outside of a retry, a resent request keeps its account, and a request
    /// is still never resent after a 401.
    ///
    /// Two rotations in one stack need pools of plain credentials: the inner one cannot remove a base
    /// URI or a fixed header that the outer one has set. A gate goes below the innermost rotation of
    /// its pool: between two of them, it stops the credential that the inner one would have
    /// replaced.
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
    /// Creates a layer that rotates over the accounts of this pool.
    pub fn new(pool: Pool) -> Self {
        let mut settings = Settings::default();
        settings.set_pool(&pool);
        Self { stages: Rotation::new(pool), keep: Cloned, settings }
    }
}

impl<K> TokenRotationLayer<K> {
    /// Sets how many accounts may have their credential rejected for one request (3): a request that
    /// itself causes the rejections must not quarantine the whole pool.
    pub fn max_refusals(mut self, refusals: NonZeroU32) -> Self {
        self.stages.max_refusals = refusals.get() as usize;
        self
    }

    /// Sets whether a 403 that is not about the credential is tried with another account. Default:
    /// `false`.
    pub fn rotate_forbidden(mut self, rotate: bool) -> Self {
        self.stages.forbidden = rotate;
        self
    }
}
