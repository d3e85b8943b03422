//! Answers that this crate makes itself, and the facts it adds to those of the upstream.
//!
//! A *local answer* is made when nothing was sent. It carries a typed [`Cause`](crate::Cause), which
//! [`failure`](crate::failure) finds.
//!
//! | situation | HTTP | gRPC status |
//! | --- | --- | --- |
//! | all accounts cool down until a known time | 429 with `Retry-After` | 8 |
//! | all accounts are rejected or retired | 401 | 16 |
//! | a token source is down, or its token is still being fetched | 503 | 14 |
//!
//! The body is a [`Problem`] document with `code`, `requires_refresh` and `help`. A function set with
//! [`local_answer`](crate::failover::FailoverBuilder::local_answer) builds other answers:
//!
//! ```
//! use http::StatusCode;
//! use tower_failover::{FailoverLayer, RetryPolicy, answer::Problem};
//!
//! let layer = FailoverLayer::builder()
//!     .retry(RetryPolicy::new())
//!     .local_answer(|cause| {
//!         let problem = Problem::new(StatusCode::BAD_GATEWAY).member("code", cause.code.as_str());
//!         Some(problem.into_response())
//!     })
//!     .build()?;
//! # Ok::<(), tower_failover::BuildError>(())
//! ```

pub(crate) mod local;
pub(crate) mod problem;
pub(crate) mod served_by;

pub(crate) use self::local::{FAILOVER_AUTH, Hook, LocalAnswers};
pub use self::{problem::Problem, served_by::ServedBy};
