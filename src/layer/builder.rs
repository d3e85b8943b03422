//! Building the fused stack.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Extensions, Response};

use super::{build_error::BuildError, failover::FailoverLayer, shell::settings};
use crate::{
    body::{Buffered, BufferedAs, InMemory, PeekLimits, SendOnce},
    classify::{Cause, Classifier},
    driver::{AuthFailureMode, Settings},
    pool::Pool,
    report::{Coalesce, Reporter, ReporterHandle},
    stage::{
        gate::{self, Gate},
        models::{ModelAt, ModelChain, Models},
        retry::RetryPolicy,
        rotation::Rotation,
    },
};

/// Builds a [`FailoverLayer`]: what is not asked for is not there, and costs nothing.
///
/// The [first page](crate) shows it with a client, and has the [defaults](crate#defaults).
///
/// ```
/// use tower_failover::{BuildError, FailoverLayer, RetryPolicy};
///
/// let layer = FailoverLayer::builder().retry(RetryPolicy::new()).attempts(3).build()?;
/// assert_eq!(FailoverLayer::builder().build().unwrap_err(), BuildError::Nothing);
/// # Ok::<(), BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FailoverBuilder<K = InMemory> {
    models: Option<ModelChain>,
    pool: Option<Pool>,
    retry: Option<RetryPolicy>,
    attempts: Option<u32>,
    max_refusals: Option<u32>,
    forbidden: bool,
    any_credential: bool,
    coalesce: Option<Duration>,
    keep: K,
    common: Settings,
}

impl FailoverLayer {
    /// A builder with nothing switched on.
    pub fn builder() -> FailoverBuilder {
        FailoverBuilder {
            models: None,
            pool: None,
            retry: None,
            attempts: None,
            max_refusals: None,
            forbidden: false,
            any_credential: false,
            coalesce: None,
            keep: InMemory,
            common: Settings { announce: false, ..Settings::default() },
        }
    }
}

common_setters!(FailoverBuilder);

impl<K> FailoverBuilder<K> {
    /// Rotates over the accounts of this pool, and short-circuits what it knows to be dead.
    pub fn rotation(mut self, pool: Pool) -> Self {
        self.common.know(&pool);
        self.pool = Some(pool);
        self
    }

    /// Sends again what is transient.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Falls back along this chain when a model cannot serve.
    ///
    /// An overloaded model is then no reason to retry, unless the retry policy says so itself.
    pub fn models(mut self, chain: ModelChain) -> Self {
        self.models = Some(chain);
        self.common.model_at.get_or_insert_default();
        self
    }

    /// Where requests name their model. By default in the member `model` of a JSON body.
    pub fn model_at(mut self, at: ModelAt) -> Self {
        self.common.model_at = Some(at);
        self
    }

    /// Short-circuits dead credentials of the callers' own too, by what this stack has seen.
    pub fn any_credential(mut self) -> Self {
        self.any_credential = true;
        self
    }

    /// Tells this reporter of each failed request, once.
    ///
    /// Incidents (a dead account, a dead pool) are told to the reporter of the
    /// [pool](crate::pool::PoolBuilder::reporter).
    pub fn report(self, reporter: impl Reporter) -> Self {
        self.report_to(ReporterHandle::new(reporter))
    }

    /// Tells the reporter behind this handle of each failed request, once.
    pub fn report_to(mut self, reporter: ReporterHandle) -> Self {
        self.common.reporter = Some(reporter);
        self
    }

    /// Whether requests that succeeded after failed attempts are told too. False by default.
    pub fn report_recovered(mut self, report: bool) -> Self {
        self.common.recovered = report;
        self
    }

    /// Of like failures within this window tells the first, and then how many more there were; see
    /// [`Coalesce`]. For more fingerprints than its default, give one to [`report`](Self::report).
    pub fn coalesce(mut self, window: Duration) -> Self {
        self.coalesce = Some(window);
        self
    }

    /// How many attempts one request may make in all (4), whatever the reason.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// No attempt starts later than this after the request came in (60 s).
    pub fn deadline(mut self, after: Duration) -> Self {
        self.common.deadline = after;
        self.common.set.deadline = Some(after);
        self
    }

    /// How many accounts may be refused for one request (3).
    pub fn max_refusals(mut self, refusals: u32) -> Self {
        self.max_refusals = Some(refusals);
        self
    }

    /// Whether a 403 that says nothing of the token is tried with another account. False by default.
    pub fn rotate_forbidden(mut self, rotate: bool) -> Self {
        self.forbidden = rotate;
        self
    }

    /// Tells layers of this crate below of each request, so that one budget and one report hold for
    /// all of them. Costs four allocations a request; not needed inside an
    /// [`ErrorDedupLayer`](crate::ErrorDedupLayer), which does it already.
    pub fn outermost_of_several(mut self) -> Self {
        self.common.announce = true;
        self
    }

    /// Keeps request bodies for another attempt in this way.
    pub fn body_strategy<L>(self, keep: L) -> FailoverBuilder<L> {
        FailoverBuilder {
            models: self.models,
            pool: self.pool,
            retry: self.retry,
            attempts: self.attempts,
            max_refusals: self.max_refusals,
            forbidden: self.forbidden,
            any_credential: self.any_credential,
            coalesce: self.coalesce,
            keep,
            common: self.common,
        }
    }

    /// The layer.
    ///
    /// # Errors
    ///
    /// When a number is 0, a setting speaks of a pool or a reporter and there is none, the window of
    /// [`coalesce`](Self::coalesce) is zero or longer than 24 h, or nothing is switched on.
    pub fn build(self) -> Result<FailoverLayer<K>, BuildError> {
        let mut common = self.common;
        if let Some(attempts) = self.attempts {
            common.attempts = BuildError::attempts(attempts)?;
            common.set.attempts = Some(attempts);
        }
        if let Some(window) = self.coalesce {
            let reporter = common.reporter.take().ok_or(BuildError::NoReporter)?;
            common.reporter = Some(Coalesce::handle(reporter, window)?);
        }
        let max_refusals = self.max_refusals.map(BuildError::refusals).transpose()?;
        let rotation = match self.pool {
            Some(pool) => {
                let mut rotation = Rotation::new(pool);
                rotation.forbidden = self.forbidden;
                rotation.max_refusals = max_refusals.unwrap_or(rotation.max_refusals);
                Some(rotation)
            }
            None if max_refusals.is_some() => return Err(BuildError::NoPool("max_refusals")),
            None if self.forbidden => return Err(BuildError::NoPool("rotate_forbidden")),
            None => None,
        };
        let gate = if self.any_credential {
            Some(Gate::seen(true, gate::usual_names(), 10_000))
        } else {
            rotation.as_ref().map(|rotation| Gate::pool(rotation.pool.clone()))
        };
        let models = match self.models {
            Some(chain) => {
                let pool = rotation.as_ref().map(|rotation| rotation.pool.clone());
                let at = common.model_at.get_or_insert_default().clone();
                Some(Models { chain, at, pool })
            }
            None if common.model_at.is_some() => return Err(BuildError::NoModels("model_at")),
            None => None,
        };
        let retry = match self.retry {
            Some(policy) if models.is_some() => Some(policy.beside_a_chain()),
            policy => policy,
        };
        if retry.is_none() && gate.is_none() && models.is_none() && common.reporter.is_none() {
            return Err(BuildError::Nothing);
        }
        let stages = (models, (retry, (rotation, gate)));
        Ok(FailoverLayer { stages, keep: self.keep, common })
    }
}
