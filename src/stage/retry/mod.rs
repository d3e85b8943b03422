//! Sending again what is transient: when, how often, how soon, and at whose cost.

mod backoff;
mod budget;
mod core;
mod policy;

pub use self::core::Session;
pub use self::{
    backoff::{Backoff, BackoffError, Jitter},
    budget::{Budget, BudgetError, Cost, TokenBucket, WindowBudget},
    policy::RetryPolicy,
};
pub(crate) use self::{
    core::Asked,
    policy::{IDEMPOTENCY_KEY, repeatable},
};
