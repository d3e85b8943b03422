//! Retries of transient failures: the decision, the backoff and the budget.

pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod decide;
pub(crate) mod policy;
pub(crate) mod session;
pub(crate) mod window;

#[cfg(feature = "tower")]
pub(crate) use self::decide::RetryQuery;
pub(crate) use self::policy::RetryPolicy;
#[cfg(test)]
pub(crate) use self::{
    backoff::Backoff,
    budget::{Budget, Cost, TokenBucket},
};
