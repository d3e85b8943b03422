//! The errors of making and opening job ids.

use crate::classify::Code;

/// The reason why a job id cannot be opened.
///
/// No message shows any part of the id. The client that sent the id gets [`Code::PinUnknown`]:
///
/// ```
/// use http::StatusCode;
/// use tower_failover::{answer::Problem, pool::JobIdError, Code};
///
/// let error = JobIdError::Invalid;
/// assert_eq!((error.code(), error.code().status()), (Code::PinUnknown, StatusCode::BAD_REQUEST));
///
/// let answer = Problem::new(error.code().status())
///     .detail(error.to_string())
///     .member("code", error.code().as_str())
///     .into_response();
/// assert_eq!(answer.status(), 400);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum JobIdError {
    /// The id was not made with any of these keys in this scope, or it was changed.
    #[error(
        "this job id was not made here, or was changed: send it back exactly as it was received"
    )]
    Invalid,
    /// The id is valid, but the pool does not have the account of the job.
    #[error("the account that this job belongs to is not in the pool")]
    AccountUnknown,
}

impl JobIdError {
    /// Returns the code for answers and metrics: [`Code::PinUnknown`].
    pub const fn code(&self) -> Code {
        Code::PinUnknown
    }
}

/// The reason why no job id can be made of an upstream's id.
///
/// No message shows the upstream's id.
///
/// ```
/// use tower_failover::pool::{JobIds, UpstreamIdError};
///
/// # fn key() -> [u8; 32] { [7; 32] }
/// assert_eq!(JobIds::new(key()).seal("bob", ""), Err(UpstreamIdError::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamIdError {
    /// The id is empty.
    #[error("the upstream's job id is empty: check which member of its answer holds it")]
    Empty,
    /// The id is longer than [`JobIds::MAX_UPSTREAM_ID`](crate::pool::JobIds::MAX_UPSTREAM_ID).
    #[error(
        "the upstream's job id is longer than 1024 bytes: check which member of its answer holds it"
    )]
    TooLong,
}
