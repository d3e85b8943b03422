//! The layer that resends after transient failures.

use super::shell::{layer_and_service, limit_setters};
use crate::{body::Cloned, driver::Settings, stage::retry::RetryPolicy};

layer_and_service! {
    /// Resends after transient failures, as a [`RetryPolicy`] says. Never after a 401.
    ///
    /// # Position
    ///
    /// Outside of a [`TokenRotationLayer`](crate::TokenRotationLayer), so that each retry may use
    /// another account.
    ///
    /// Below another layer that resends, each request of that layer has all retries of this one,
    /// within the attempts that hold for both.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use tower::ServiceBuilder;
    /// use tower_failover::{RetryLayer, RetryPolicy};
    ///
    /// const FOUR: NonZeroU32 = NonZeroU32::new(4).unwrap();
    ///
    /// # fn stack<S: Clone>(client: S) {
    /// let layer = RetryLayer::new(RetryPolicy::new().retries(3)).attempts(FOUR);
    /// let stack = ServiceBuilder::new().layer(layer).service(client);
    /// # }
    /// ```
    layer RetryLayer,
    /// The service of a [`RetryLayer`].
    service Retry,
    stages RetryPolicy, keep Cloned
}
limit_setters!(RetryLayer);

impl RetryLayer {
    /// Creates a layer with this policy and its classifier.
    pub fn new(policy: RetryPolicy) -> Self {
        let classifier = policy.settings.classifier.clone();
        let settings = Settings { classifier, ..Settings::default() };
        Self { stages: policy, keep: Cloned, settings }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new(RetryPolicy::default())
    }
}
