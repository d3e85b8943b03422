//! Retries of transient failures: the decision, the backoff and the budget.

pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod policy;
pub(crate) mod session;
pub(crate) mod stage;
pub(crate) mod window;

pub(crate) use self::policy::{IDEMPOTENCY_KEY, RetryPolicy, repeatable};
#[cfg(feature = "tower")]
pub(crate) use self::stage::RetryQuery;
#[cfg(test)]
pub(crate) use self::{
    backoff::Backoff,
    budget::{Budget, Cost, TokenBucket},
};
