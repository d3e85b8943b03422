//! What is wrong with a job id, or with what one is to be made of.

use crate::classify::Code;

/// Why a job id cannot be opened.
///
/// No message shows anything of the id. Each is [`Code::PinUnknown`] to whoever sent the id:
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
    /// It was not made with any of these keys in this scope, or it is not what it was.
    #[error("this job id was not made here, or is not whole: give it back as it was handed out")]
    Invalid,
    /// It is whole, and the pool does not have the account that the job belongs to.
    #[error("the account that this job belongs to is not in the pool")]
    AccountUnknown,
}

impl JobIdError {
    /// The code for answers and metrics: [`Code::PinUnknown`].
    pub const fn code(&self) -> Code {
        Code::PinUnknown
    }
}

/// Why no job id can be made of what the upstream calls a job.
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
    /// Nothing is there.
    #[error("the upstream's job id is empty: check which member of its answer holds it")]
    Empty,
    /// It is longer than [`JobIds::MAX_UPSTREAM_ID`](crate::pool::JobIds::MAX_UPSTREAM_ID).
    #[error(
        "the upstream's job id is longer than 1024 bytes: check which member of its answer holds it"
    )]
    TooLong,
}
