//! The layer that falls back to another model.

use super::shell::{layer_and_service, limit_setters};
use crate::{
    body::InMemory,
    driver::Settings,
    pool::Pool,
    stage::{
        model::ModelAt,
        models::{ModelChain, Models},
    },
};

layer_and_service! {
    /// Sends the caller's original request again with the next model when a model cannot serve.
    ///
    /// 1. The next model of the [`ModelChain`] is tried after a model fault (not found, overloaded,
    ///    context too long, rejected), and after a limit or a transient failure that no inner layer
    ///    resolved. Never after a 401.
    /// 2. A request that the upstream [perhaps did](crate::classify::Delivery::PerhapsDone) is not
    ///    sent to another model either, unless repeating it is harmless.
    /// 3. Models that only rejected or cooling accounts could serve are skipped, where the layer
    ///    knows the [pool](ModelFallbackLayer::pool).
    /// 4. The request is the caller's own, byte for byte, but for the model's name
    ///    (see [`ModelAt`]).
    ///
    /// # Position
    ///
    /// Outside of retry and rotation: another model is the last resort. Inside of one of them, a
    /// model is given up before the wait, or the other account, that would have served it.
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
    /// Creates a layer with this chain; the model is the member `model` of a JSON body.
    pub fn new(chain: ModelChain) -> Self {
        let stages = Models::new(chain);
        let settings = Settings { model_at: Some(stages.at.clone()), ..Settings::default() };
        Self { stages, keep: InMemory, settings }
    }
}

impl<K> ModelFallbackLayer<K> {
    /// Sets where requests name their model. Default: the member `model` of a JSON body.
    pub fn model_at(mut self, at: ModelAt) -> Self {
        self.settings.model_at = Some(at.clone());
        self.stages.at = at;
        self
    }

    /// Skips models that none of this pool's accounts can serve now.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.stages.pool = Some(pool);
        self
    }
}
