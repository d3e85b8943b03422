//! The layer that falls back to another model.

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
    body::{Buffered, BufferedAs, FailoverBody, InMemory, Keep, PeekLimits, SendOnce, Spare},
    classify::{Cause, Classifier},
    driver::{AuthFailureMode, Config, Driver, ResponseFuture, Settings},
    pool::Pool,
    stage::models::{ModelAt, ModelChain, Models},
};

layer_and_service! {
    /// When a model cannot serve, sends the caller's own request again with the next one.
    ///
    /// 1. The next model of the [`ModelChain`] is tried after a fault of the model (not found,
    ///    overloaded, too long, forbidden), and after a limit or a transient fault that nothing
    ///    inside could do anything about. Never after a 401.
    /// 2. What the upstream [may have done](crate::classify::Delivery::PerhapsDone) is not sent to another
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
limit_setters!(ModelFallbackLayer);

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
