//! Answers that this crate makes itself, and what it adds to those of the upstream.

pub(crate) mod local;
pub(crate) mod problem;
pub(crate) mod served_by;

pub(crate) use self::local::{FAILOVER_AUTH, Hook, LocalAnswers};
pub use self::{problem::Problem, served_by::ServedBy};
