//! Building the fused stack.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Extensions, Response};

use super::{
    buffer::{Buffered, BufferedAs},
    build_error::BuildError,
    config::{AuthFailureMode, Settings},
    keep::{InMemory, Once},
    layers::FailoverLayer,
    peek::PeekLimits,
};
use crate::{
    classify::{Cause, Classifier},
    credential::Pool,
    report::{Coalesce, Reporter, ReporterHandle},
    stage::{
        ModelAt, ModelChain, Models,
        gate::{self, Gate},
        retry::RetryPolicy,
        rotation::Rotation,
    },
};

/// Builds a [`FailoverLayer`]: what is not asked for is not there, and costs nothing.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FailoverBuilder<K = InMemory> {
    models: Option<ModelChain>,
    pool: Option<Pool>,
    retry: Option<RetryPolicy>,
    attempts: u32,
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
            attempts: Settings::default().attempts,
            max_refusals: None,
            forbidden: false,
            any_credential: false,
            coalesce: None,
            keep: InMemory,
            common: Settings { announce: false, ..Settings::default() },
        }
    }
}

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
    /// [pool](crate::credential::PoolBuilder::reporter).
    pub fn report(self, reporter: impl Reporter) -> Self {
        self.report_to(ReporterHandle::new(reporter))
    }

    /// Tells the reporter behind this handle of each failed request, once.
    pub fn report_to(mut self, reporter: ReporterHandle) -> Self {
        self.common.reporter = Some(reporter);
        self
    }

    /// Whether requests that succeeded after failed attempts are told too. False by default.
    pub fn report_recovered(mut self, tell: bool) -> Self {
        self.common.recovered = tell;
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
        self.attempts = attempts;
        self
    }

    /// No attempt starts later than this after the request came in (60 s).
    pub fn deadline(mut self, after: Duration) -> Self {
        self.common.deadline = after;
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

    /// What answers and errors mean.
    pub fn classifier(mut self, classifier: Classifier) -> Self {
        self.common.classifier = classifier;
        self
    }

    /// What becomes of an upstream's refusal of one of the pool's credentials.
    pub fn auth_failure(mut self, mode: AuthFailureMode) -> Self {
        self.common.mode = mode;
        self
    }

    /// Replaces local answers by the user's own; `None` keeps the usual one.
    ///
    /// `Retry-After`, `x-failover-auth` and the [`Cause`] are added to it.
    pub fn local_answer<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Cause) -> Option<Response<Bytes>> + Send + Sync + 'static,
    {
        self.common.hook = Some(Arc::new(hook));
        self
    }

    /// Whether the response's extensions tell who [served](crate::ServedBy) the request.
    pub fn served_by(mut self, tell: bool) -> Self {
        self.common.served_by = tell;
        self
    }

    /// How much of an error body is read to find out what the answer means (64 KiB), and for how
    /// long (2 s). What is read is given on whole.
    pub fn error_body(mut self, bytes: usize, time: Duration) -> Self {
        self.common.peek = PeekLimits { bytes, time };
        self
    }

    /// Keeps this type out of the extensions of all attempts but the first.
    pub fn first_attempt_only<T: Send + Sync + 'static>(mut self) -> Self {
        self.common.deny.push(|extensions: &mut Extensions| {
            extensions.remove::<T>();
        });
        self
    }

    /// Tells layers of this crate below of each request, so that one budget and one report hold for
    /// all of them. Costs four allocations a request; not needed inside an
    /// [`ErrorDedupLayer`](crate::ErrorDedupLayer), which does it already.
    pub fn outermost_of_several(mut self) -> Self {
        self.common.announce = true;
        self
    }

    /// Sends every request once: for bodies and services that are not `Clone`.
    pub fn send_once(self) -> FailoverBuilder<Once> {
        self.keeping(Once)
    }

    /// Reads request bodies before they are sent, up to this many bytes, and keeps them: for bodies
    /// that stream. The service below is called with a [`ReplayBody`](crate::ReplayBody): a client of
    /// hyper-util is built with `build_http::<ReplayBody<B>>()`.
    pub fn buffered(self, cap: usize) -> FailoverBuilder<Buffered> {
        self.keeping(Buffered::up_to(cap))
    }

    /// The same as [`buffered`](Self::buffered), for a service below that wants another type of
    /// body: what this function makes of it.
    pub fn buffered_as<F>(self, cap: usize, map: F) -> FailoverBuilder<BufferedAs<F>> {
        self.keeping(BufferedAs::new(cap, map))
    }

    /// Keeps request bodies for another attempt in this way.
    pub fn keeping<L>(self, keep: L) -> FailoverBuilder<L> {
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
        common.attempts = BuildError::attempts(self.attempts)?;
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
