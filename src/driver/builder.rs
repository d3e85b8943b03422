//! Building the fused stack.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Extensions, Response};

use super::{
    build_error::BuildError,
    config::{AuthFailureMode, Settings},
    keep::{Cloned, Once},
    layers::FailoverLayer,
    peek::PeekLimits,
};
use crate::{
    classify::{Cause, Classifier},
    credential::Pool,
    report::{Coalesce, Reporter, ReporterHandle},
    stage::{
        gate::{self, Gate},
        retry::RetryPolicy,
        rotation::Rotation,
    },
};

/// Builds a [`FailoverLayer`]: what is not asked for is not there, and costs nothing.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct FailoverBuilder<K = Cloned> {
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
            pool: None,
            retry: None,
            attempts: Settings::default().attempts,
            max_refusals: None,
            forbidden: false,
            any_credential: false,
            coalesce: None,
            keep: Cloned,
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

    /// Keeps request bodies for another attempt in this way.
    pub fn keeping<L>(self, keep: L) -> FailoverBuilder<L> {
        FailoverBuilder {
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
        if self.retry.is_none() && gate.is_none() && common.reporter.is_none() {
            return Err(BuildError::Nothing);
        }
        Ok(FailoverLayer { stages: (self.retry, (rotation, gate)), keep: self.keep, common })
    }
}
