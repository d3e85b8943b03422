//! Building the fused stack.

use std::{num::NonZeroU32, time::Duration};

use super::{
    build_error::BuildError,
    failover::FailoverLayer,
    shell::{common_setters, limit_setters},
};
use crate::{
    body::InMemory,
    driver::Settings,
    pool::Pool,
    report::{Coalesce, Reporter},
    stage::{
        gate::{self, Gate},
        model::ModelAt,
        models::{ModelChain, Models},
        retry::RetryPolicy,
        rotation::Rotation,
    },
};

/// Builds a [`FailoverLayer`]; a stage that is not switched on costs nothing.
///
/// The [first page](crate) shows it with a client, and lists the [defaults](crate#defaults).
///
/// ```
/// use std::num::NonZeroU32;
/// use tower_failover::{BuildError, FailoverLayer, RetryPolicy};
///
/// const THREE: NonZeroU32 = NonZeroU32::new(3).unwrap();
///
/// let layer = FailoverLayer::builder().retry(RetryPolicy::new()).attempts(THREE).build()?;
/// assert_eq!(FailoverLayer::builder().build().unwrap_err(), BuildError::Nothing);
/// # Ok::<(), BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FailoverBuilder<K = InMemory> {
    models: Option<ModelChain>,
    pool: Option<Pool>,
    retry: Option<RetryPolicy>,
    max_refusals: Option<NonZeroU32>,
    forbidden: bool,
    any_credential: bool,
    coalesce: Option<Duration>,
    keep: K,
    settings: Settings,
}

impl FailoverLayer {
    /// Returns a builder with nothing switched on.
    pub fn builder() -> FailoverBuilder {
        FailoverBuilder {
            models: None,
            pool: None,
            retry: None,
            max_refusals: None,
            forbidden: false,
            any_credential: false,
            coalesce: None,
            keep: InMemory,
            settings: Settings { announce: false, ..Settings::default() },
        }
    }
}

common_setters!(FailoverBuilder);
limit_setters!(FailoverBuilder);

impl<K> FailoverBuilder<K> {
    /// Rotates over the accounts of this pool, and keeps its rejected credentials from being sent.
    pub fn rotation(mut self, pool: Pool) -> Self {
        self.settings.set_pool(&pool);
        self.pool = Some(pool);
        self
    }

    /// Resends after transient failures, as this policy says.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Falls back along this chain when a model cannot serve.
    ///
    /// The retry policy then leaves an overloaded model to the chain, unless it sets
    /// [`overloaded`](RetryPolicy::overloaded).
    pub fn models(mut self, chain: ModelChain) -> Self {
        self.models = Some(chain);
        self.settings.model_at.get_or_insert_default();
        self
    }

    /// Sets where requests name their model. Default: the member `model` of a JSON body.
    pub fn model_at(mut self, at: ModelAt) -> Self {
        self.settings.model_at = Some(at);
        self
    }

    /// Keeps rejected credentials of the callers' own from being sent too, remembering those that
    /// this stack has seen rejected.
    pub fn any_credential(mut self) -> Self {
        self.any_credential = true;
        self
    }

    /// Reports each failed request once to `reporter`: a closure, a [`Reporter`] or a
    /// [`ReporterHandle`](crate::report::ReporterHandle) that is shared with others.
    ///
    /// Incidents (a dead account, a dead pool) go to the reporter of the
    /// [pool](crate::pool::PoolBuilder::reporter).
    pub fn reporter(mut self, reporter: impl Reporter) -> Self {
        self.settings.reporter = Some(reporter.into_handle());
        self
    }

    /// Sets whether requests that succeeded after failed attempts are reported too. Default: `false`.
    pub fn report_recovered(mut self, report: bool) -> Self {
        self.settings.recovered = report;
        self
    }

    /// Reports the first of like failures within this window, and then the number of the others.
    ///
    /// To remember more fingerprints than by default, give a [`Coalesce`] to
    /// [`reporter`](Self::reporter).
    pub fn coalesce(mut self, window: Duration) -> Self {
        self.coalesce = Some(window);
        self
    }

    /// Sets how many accounts may have their credential rejected for one request (3).
    pub fn max_refusals(mut self, refusals: NonZeroU32) -> Self {
        self.max_refusals = Some(refusals);
        self
    }

    /// Sets whether a 403 that is not about the credential is tried with another account. Default:
    /// `false`.
    pub fn rotate_forbidden(mut self, rotate: bool) -> Self {
        self.forbidden = rotate;
        self
    }

    /// Shares budget and report of each request with layers of this crate below.
    ///
    /// Costs four allocations a request. Not needed inside an
    /// [`ErrorDedupLayer`](crate::ErrorDedupLayer), which shares them already.
    pub fn outermost_of_several(mut self) -> Self {
        self.settings.announce = true;
        self
    }

    /// Sets how request bodies are kept for another attempt.
    pub fn body_strategy<L>(self, keep: L) -> FailoverBuilder<L> {
        FailoverBuilder {
            models: self.models,
            pool: self.pool,
            retry: self.retry,
            max_refusals: self.max_refusals,
            forbidden: self.forbidden,
            any_credential: self.any_credential,
            coalesce: self.coalesce,
            keep,
            settings: self.settings,
        }
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// When a setting needs a pool, a chain or a reporter and there is none, the window of
    /// [`coalesce`](Self::coalesce) is zero or longer than 24 h, or nothing is switched on.
    pub fn build(mut self) -> Result<FailoverLayer<K>, BuildError> {
        self.coalesce_reporter()?;
        let rotation = self.rotation_stage()?;
        let gate = if self.any_credential {
            Some(Gate::without_pool(true, gate::default_credential_headers(), gate::REMEMBERED))
        } else {
            rotation.as_ref().map(|rotation| Gate::with_pool(rotation.pool.clone()))
        };
        let models = self.models_stage(rotation.as_ref())?;
        let retry = match self.retry {
            Some(policy) if models.is_some() => Some(policy.with_fallback()),
            policy => policy,
        };
        if retry.is_none() && gate.is_none() && models.is_none() && self.settings.reporter.is_none()
        {
            return Err(BuildError::Nothing);
        }
        let stages = (models, (retry, (rotation, gate)));
        Ok(FailoverLayer { stages, keep: self.keep, settings: self.settings })
    }

    /// Puts the coalescing reporter in front of the reporter.
    fn coalesce_reporter(&mut self) -> Result<(), BuildError> {
        if let Some(window) = self.coalesce {
            let reporter = self.settings.reporter.take().ok_or(BuildError::NoReporter)?;
            self.settings.reporter = Some(Coalesce::handle(reporter, window)?);
        }
        Ok(())
    }

    fn rotation_stage(&mut self) -> Result<Option<Rotation>, BuildError> {
        match self.pool.take() {
            Some(pool) => {
                let mut rotation = Rotation::new(pool);
                rotation.forbidden = self.forbidden;
                if let Some(refusals) = self.max_refusals {
                    rotation.max_refusals = refusals.get() as usize;
                }
                Ok(Some(rotation))
            }
            None if self.max_refusals.is_some() => Err(BuildError::NoPool("max_refusals")),
            None if self.forbidden => Err(BuildError::NoPool("rotate_forbidden")),
            None => Ok(None),
        }
    }

    fn models_stage(&mut self, rotation: Option<&Rotation>) -> Result<Option<Models>, BuildError> {
        match self.models.take() {
            Some(chain) => {
                let pool = rotation.map(|rotation| rotation.pool.clone());
                let at = self.settings.model_at.get_or_insert_default().clone();
                Ok(Some(Models { chain, at, pool }))
            }
            None if self.settings.model_at.is_some() => Err(BuildError::NoModels("model_at")),
            None => Ok(None),
        }
    }
}
