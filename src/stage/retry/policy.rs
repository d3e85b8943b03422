//! The settings of retries, which are also a policy for tower's own `Retry`.

use std::{sync::Arc, time::Duration};

use super::{
    backoff::Backoff,
    budget::{Budget, TokenBucket},
    session::Session,
};
use crate::{classify::Classifier, clock::Timer};

/// The rules for resending a request for a reason other than its credential.
///
/// 1. Only [transient](crate::Verdict::Transient), [limited](crate::Verdict::Limited) and, unless
///    [turned off](RetryPolicy::overloaded), overloaded answers are retried. A 401 never is, and no
///    setting changes that.
/// 2. If the upstream [may have done the work](crate::classify::Delivery::PerhapsDone), the request is
///    retried only if doing it twice is harmless: the method is idempotent (RFC 9110 §9.2.2), the
///    request has an `Idempotency-Key` header, or the caller set
///    [`RequestOptions::repeatable`](crate::RequestOptions::repeatable).
/// 3. The wait is the longer of the backoff and the server's delay. If the server's delay is longer
///    than [`max_wait`](RetryPolicy::max_wait), the request is not retried.
/// 4. Each retry is paid for from a [`Budget`] that all requests share.
///
/// With the feature `tower`, this type is also a policy for
/// [tower's own `Retry`](https://docs.rs/tower/latest/tower/retry/struct.Retry.html). Clones share the
/// budget.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{retry::Backoff, RetryPolicy};
///
/// let policy = RetryPolicy::new()
///     .retries(3)
///     .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(2))?)
///     .max_wait(Duration::from_secs(10));
/// # Ok::<(), tower_failover::retry::BackoffError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    pub(crate) settings: Arc<Settings>,
    /// The state of one request under tower's `Retry`, which clones the policy for each request.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) session: Session,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) max_wait: Duration,
    pub(crate) overloaded: Option<bool>,
    pub(crate) idempotent_only: bool,
    pub(crate) budget: Arc<dyn Budget>,
    pub(crate) classifier: Classifier,
    /// For tower's `Retry`: the layers have a timer of their own.
    #[cfg_attr(not(feature = "tower"), allow(dead_code))]
    pub(crate) timer: Timer,
}

impl RetryPolicy {
    /// Builds a policy with two retries, a backoff of 100 ms doubling to 5 s with full jitter, and a
    /// full bucket of 500 tokens.
    pub fn new() -> Self {
        Self {
            settings: Arc::new(Settings {
                retries: 2,
                backoff: Backoff::DEFAULT,
                max_wait: Duration::from_secs(5),
                overloaded: None,
                idempotent_only: false,
                budget: Arc::new(TokenBucket::default()),
                classifier: Classifier::default(),
                timer: Timer::new(),
            }),
            session: Session::default(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Sets the largest number of retries of one request (2). 0 turns retries off.
    pub fn retries(self, retries: u32) -> Self {
        self.with(|settings| settings.retries = retries)
    }

    /// Sets the wait before a retry if the server gives no delay.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|settings| settings.backoff = backoff)
    }

    /// Sets the longest server delay or account cooldown that a request waits for (5 s).
    pub fn max_wait(self, max: Duration) -> Self {
        self.with(|settings| settings.max_wait = max)
    }

    /// Sets whether a request is retried if its model is overloaded (529). By default it is, unless
    /// there is a next model to fall back to.
    pub fn overloaded(self, retry: bool) -> Self {
        self.with(|settings| settings.overloaded = Some(retry))
    }

    /// Leaves overloaded models to the fallback, unless [`overloaded`](Self::overloaded) was set.
    pub(crate) fn with_fallback(self) -> Self {
        self.with(|settings| settings.overloaded = settings.overloaded.or(Some(false)))
    }

    /// Sets whether requests that are not safe to [repeat](crate::RequestOptions::repeatable) are never
    /// retried, even if the upstream certainly did no work (503, 429). False by default.
    pub fn idempotent_only(self, only: bool) -> Self {
        self.with(|settings| settings.idempotent_only = only)
    }

    /// Sets the budget that retries are paid from: a [`TokenBucket`], a
    /// [`WindowBudget`](crate::retry::WindowBudget), [`Unlimited`](crate::retry::Unlimited), a type
    /// of your own, or an `Arc` of one to share it or to read it later.
    pub fn budget(self, budget: impl Budget) -> Self {
        self.with(|settings| settings.budget = Arc::new(budget))
    }

    /// Sets the classifier of answers for tower's own `Retry`, and the default classifier of a
    /// [`RetryLayer`](crate::RetryLayer).
    ///
    /// tower's `Retry` does not read bodies, so only the head of an answer counts there.
    pub fn classifier(self, classifier: Classifier) -> Self {
        self.with(|settings| settings.classifier = classifier)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
