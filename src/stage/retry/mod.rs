//! Sending again what is transient: when, how often, how soon, and at whose cost.

pub(crate) mod backoff;
pub(crate) mod budget;
pub(crate) mod core;
pub(crate) mod policy;
pub(crate) mod window;

#[cfg(feature = "tower")]
pub(crate) use self::core::Asked;
pub(crate) use self::policy::{IDEMPOTENCY_KEY, RetryPolicy, repeatable};
#[cfg(test)]
pub(crate) use self::{
    backoff::Backoff,
    budget::{Budget, Cost, TokenBucket},
};
