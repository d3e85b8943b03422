//! Sending again what is transient: when, how often, how soon, and at whose cost.

mod backoff;
mod budget;
mod core;
mod policy;
mod window;

#[cfg(feature = "tower")]
pub(crate) use self::core::Asked;
pub use self::core::Session;
pub(crate) use self::policy::{IDEMPOTENCY_KEY, repeatable};
pub use self::{
    backoff::{Backoff, BackoffError, Jitter},
    budget::{Budget, Cost, TokenBucket},
    policy::RetryPolicy,
    window::{BudgetError, WindowBudget},
};
