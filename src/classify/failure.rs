//! This crate's own answer as an error, and what its cause means to a layer further out.

use http::StatusCode;
use thiserror::Error;

use super::{
    code::{Cause, Code},
    reason::Reason,
    verdict::Verdict,
};

/// An answer with a [`Cause`], turned into an error.
///
/// Every layer of this crate recognises it, however deep it is wrapped: a refusal stays a refusal.
///
/// Made by [`FailureToErrLayer`](crate::adapter::FailureToErrLayer), which has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{cause} [{}]", status.as_u16())]
pub struct FailureError {
    cause: Cause,
    status: StatusCode,
}

impl FailureError {
    /// The error for an answer with this cause and this status.
    pub const fn new(cause: Cause, status: StatusCode) -> Self {
        Self { cause, status }
    }

    /// What happened, and who said so.
    pub const fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

/// What a cause means: what its code says, whatever the status beside it.
pub(crate) const fn verdict(cause: &Cause) -> Verdict {
    let delay = cause.retry_after;
    match cause.code {
        // An empty pool is no fault of a later attempt's either: nothing was there to send.
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

/// What an answer means that already has its cause: nothing is read twice.
impl From<Cause> for Verdict {
    fn from(cause: Cause) -> Self {
        verdict(&cause)
    }
}
