//! The layer that resends transient failures.

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
    stage::retry::RetryPolicy,
};

layer_and_service! {
    /// Sends again what is transient, as a [`RetryPolicy`] says. Never after a 401.
    ///
    /// # Position
    ///
    /// Outside of a [`TokenRotationLayer`](crate::TokenRotationLayer), so that each retry may use another account.
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
limit_setters!(RetryLayer);

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
