//! The settings of a retry, which are also a policy for tower's own `Retry`.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};

use super::{
    backoff::Backoff,
    budget::{Budget, TokenBucket},
    stage::Session,
};
use crate::{classify::Classifier, clock::Timer, stage::RequestOptions};

/// `Idempotency-Key`
/// ([draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)).
pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether doing a request twice is harmless: an idempotent method (RFC 9110 §9.2.2), an
/// `Idempotency-Key` (`keyed`), or the caller's word.
pub(crate) fn repeatable(method: &Method, keyed: bool, options: Option<&RequestOptions>) -> bool {
    method.is_idempotent() || keyed || options.is_some_and(RequestOptions::is_repeatable)
}

/// When a request is sent again for a reason that is not the credential's.
///
/// 1. Only [transient](crate::Verdict::Transient), [limited](crate::Verdict::Limited) and, unless
///    [switched off](RetryPolicy::overloaded), overloaded answers are sent again. A 401 never is:
///    there is no setting for it.
/// 2. What the upstream [may have done](crate::classify::Delivery::PerhapsDone) is sent again only when doing
///    it twice is harmless: an idempotent method (RFC 9110 §9.2.2), an `Idempotency-Key` header, or
///    [`RequestOptions::repeatable`](crate::RequestOptions::repeatable).
/// 3. The wait is the backoff or the server's delay, whichever is longer. A server's delay above
///    [`max_wait`](RetryPolicy::max_wait) is not waited for, and not shortened either.
/// 4. Each retry is paid for from a [`Budget`] that all requests share.
///
/// With the feature `tower` it is a policy for [tower's own `Retry`](https://docs.rs/tower/latest/tower/retry/struct.Retry.html) too; clones share the budget.
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
    /// What tower's `Retry` keeps of one request: it clones the policy for each.
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
    /// Two retries, 100 ms doubling to 5 s with full jitter, a full bucket of 500 tokens.
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

    /// How many times one request is sent again, at most. 0 never sends again.
    pub fn retries(self, retries: u32) -> Self {
        self.with(|settings| settings.retries = retries)
    }

    /// How long to wait when the server does not say.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.with(|settings| settings.backoff = backoff)
    }

    /// The longest delay of a server, or rest of an account, that a request waits for.
    pub fn max_wait(self, max: Duration) -> Self {
        self.with(|settings| settings.max_wait = max)
    }

    /// Whether an overloaded model (529) is sent the request again. True by default; false by
    /// default where a next model is there to fall back to.
    pub fn overloaded(self, retry: bool) -> Self {
        self.with(|settings| settings.overloaded = Some(retry))
    }

    /// An overloaded model is left to the chain, unless this policy was told otherwise.
    pub(crate) fn with_fallback(self) -> Self {
        self.with(|settings| settings.overloaded = settings.overloaded.or(Some(false)))
    }

    /// Whether requests that may not be [repeated](crate::RequestOptions::repeatable) are left alone
    /// even when the upstream surely did no work (503, 429). False by default.
    pub fn idempotent_only(self, only: bool) -> Self {
        self.with(|settings| settings.idempotent_only = only)
    }

    /// Sets the budget that retries are paid from: a [`TokenBucket`], a
    /// [`WindowBudget`](crate::retry::WindowBudget), [`Unlimited`](crate::retry::Unlimited), a type
    /// of your own, or an `Arc` of one to share it or to read it later.
    pub fn budget(self, budget: impl Budget) -> Self {
        self.with(|settings| settings.budget = Arc::new(budget))
    }

    /// What answers mean, where this policy is used with tower's own `Retry`, and by default in a
    /// [`RetryLayer`](crate::RetryLayer).
    ///
    /// tower's `Retry` does not read bodies: only what the head says counts there.
    pub fn classifier(self, classifier: Classifier) -> Self {
        self.with(|settings| settings.classifier = classifier)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}
