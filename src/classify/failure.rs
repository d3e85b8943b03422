//! An answer with a cause as an error, and the verdict of a cause.

use http::StatusCode;
use thiserror::Error;

use super::{
    code::{Cause, Code},
    reason::Reason,
    verdict::Verdict,
};

/// An answer with a [`Cause`], as an error.
///
/// Every layer of this crate recognises it, however deeply it is wrapped: a rejected credential stays
/// rejected.
///
/// Returned by [`FailureToErrLayer`](crate::adapter::FailureToErrLayer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{cause} [{}]", status.as_u16())]
pub struct FailureError {
    cause: Cause,
    status: StatusCode,
}

impl FailureError {
    /// Creates the error of an answer with this cause and status.
    pub const fn new(cause: Cause, status: StatusCode) -> Self {
        Self { cause, status }
    }

    /// Returns the cause.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Returns the status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

/// Returns the verdict of a cause, by its code alone, whatever the status.
pub(crate) const fn verdict(cause: &Cause) -> Verdict {
    let delay = cause.retry_after;
    match cause.code {
        // An empty pool has no credential to send.
        Code::CredentialMissing | Code::PoolEmpty => Verdict::Unauthorized(Reason::Missing),
        Code::CredentialExpired => Verdict::Unauthorized(Reason::Expired),
        Code::CredentialInvalid => Verdict::Unauthorized(Reason::Invalid),
        Code::CredentialRevoked => Verdict::Unauthorized(Reason::Revoked),
        Code::CredentialInactive => Verdict::Unauthorized(Reason::Inactive),
        Code::InsufficientScope => Verdict::Unauthorized(Reason::InsufficientScope),
        Code::PoolLimited => Verdict::Limited { delay },
        Code::OutOfQuota => Verdict::OutOfQuota { delay },
        Code::NotReady => Verdict::unavailable().with_delay(delay),
        Code::OriginNotAllowed => Verdict::Forbidden,
        Code::PinUnknown => Verdict::Rejected,
        Code::DeadlineExceeded => Verdict::timed_out(),
    }
}

/// The verdict of an answer that already has its cause.
impl From<Cause> for Verdict {
    fn from(cause: Cause) -> Self {
        verdict(&cause)
    }
}
