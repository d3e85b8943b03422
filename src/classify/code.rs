//! The codes of local answers and rejected credentials: status, gRPC status, message, `requires_refresh`.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use super::reason::Reason;

/// The code of a local answer, or of an upstream's answer that rejects a credential of the pool.
///
/// | code | status | gRPC | `requires_refresh` |
/// | --- | --- | --- | --- |
/// | `credential_missing` | 401 | 16 | no |
/// | `credential_expired` | 401 | 16 | yes |
/// | `credential_invalid` | 401 | 16 | when the source can mint |
/// | `credential_revoked` | 401 | 16 | no |
/// | `credential_inactive` | 401 | 16 | no |
/// | `insufficient_scope` | 401 | 16 | no |
/// | `pool_empty` | 401 | 16 | no |
/// | `pool_limited` | 429 | 8 | no |
/// | `out_of_quota` | 429 | 8 | no |
/// | `not_ready` | 503 | 14 | no |
/// | `origin_not_allowed` | 403 | 7 | no |
/// | `pin_unknown` | 400 | 3 | no |
/// | `deadline_exceeded` | 504 | 4 | no |
///
/// [`failure`](crate::failure) reads it from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// There is no credential.
    CredentialMissing,
    /// The credential has expired.
    CredentialExpired,
    /// The upstream does not accept the credential.
    CredentialInvalid,
    /// The credential was revoked.
    CredentialRevoked,
    /// The account behind the credential is disabled.
    CredentialInactive,
    /// The credential lacks the scope.
    InsufficientScope,
    /// The pool has no account that can serve this request.
    PoolEmpty,
    /// Every account that can serve is cooling until a known time.
    PoolLimited,
    /// Every account that can serve has used up its quota.
    OutOfQuota,
    /// The token source is down, or has not returned its first token yet.
    NotReady,
    /// The request's origin is not one of the pool's.
    OriginNotAllowed,
    /// The request is pinned to an account that the pool does not have.
    PinUnknown,
    /// The request's deadline passed before the next attempt could start, after the previous answer
    /// had been given up.
    DeadlineExceeded,
}

impl Code {
    /// Every code, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::CredentialMissing,
        Self::CredentialExpired,
        Self::CredentialInvalid,
        Self::CredentialRevoked,
        Self::CredentialInactive,
        Self::InsufficientScope,
        Self::PoolEmpty,
        Self::PoolLimited,
        Self::OutOfQuota,
        Self::NotReady,
        Self::OriginNotAllowed,
        Self::PinUnknown,
        Self::DeadlineExceeded,
    ];

    /// Returns the stable code for answers, events and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CredentialMissing => Reason::Missing.as_str(),
            Self::CredentialExpired => Reason::Expired.as_str(),
            Self::CredentialInvalid => Reason::Invalid.as_str(),
            Self::CredentialRevoked => Reason::Revoked.as_str(),
            Self::CredentialInactive => Reason::Inactive.as_str(),
            Self::InsufficientScope => Reason::InsufficientScope.as_str(),
            Self::PoolEmpty => "pool_empty",
            Self::PoolLimited => "pool_limited",
            Self::OutOfQuota => "out_of_quota",
            Self::NotReady => "not_ready",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PinUnknown => "pin_unknown",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }

    /// Returns the status of a local answer with this code.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::PoolLimited | Self::OutOfQuota => StatusCode::TOO_MANY_REQUESTS,
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::PinUnknown => StatusCode::BAD_REQUEST,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// Returns the gRPC status code of a local answer with this code
    /// ([statuscodes.md](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)).
    pub const fn grpc_status(&self) -> u8 {
        match self {
            Self::PoolLimited | Self::OutOfQuota => 8,
            Self::NotReady => 14,
            Self::OriginNotAllowed => 7,
            Self::PinUnknown => 3,
            Self::DeadlineExceeded => 4,
            _ => 16,
        }
    }

    /// Returns whether a new token from the same source would help. `can_mint` is whether the source can
    /// return one.
    pub const fn requires_refresh(&self, can_mint: bool) -> bool {
        match self {
            Self::CredentialExpired => true,
            Self::CredentialInvalid => can_mint,
            _ => false,
        }
    }

    /// Returns whether the code is about a credential, rather than the request or the time.
    pub const fn is_about_a_credential(&self) -> bool {
        matches!(
            self,
            Self::CredentialMissing
                | Self::CredentialExpired
                | Self::CredentialInvalid
                | Self::CredentialRevoked
                | Self::CredentialInactive
                | Self::InsufficientScope
        )
    }

    /// Returns one sentence for a person.
    pub const fn message(&self) -> &'static str {
        match self {
            Self::CredentialMissing => "There is no credential to send.",
            Self::CredentialExpired => "The credential has expired.",
            Self::CredentialInvalid => "The credential is not accepted by the upstream.",
            Self::CredentialRevoked => "The credential was revoked.",
            Self::CredentialInactive => "The account behind the credential is disabled.",
            Self::InsufficientScope => "The credential lacks the scope for this.",
            Self::PoolEmpty => "The pool has no account that could serve this request.",
            Self::PoolLimited => "Every account that could serve this request is cooling down.",
            Self::OutOfQuota => {
                "Every account that could serve this request has used up its quota."
            }
            Self::NotReady => "No credential is ready: no token source has returned one.",
            Self::OriginNotAllowed => {
                "The request goes to an origin that no credential may be sent to."
            }
            Self::PinUnknown => "The request is pinned to an account that the pool does not have.",
            Self::DeadlineExceeded => "The deadline passed before another attempt could start.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for Code {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Missing => Self::CredentialMissing,
            Reason::Expired => Self::CredentialExpired,
            Reason::Invalid => Self::CredentialInvalid,
            Reason::Revoked => Self::CredentialRevoked,
            Reason::Inactive => Self::CredentialInactive,
            Reason::InsufficientScope => Self::InsufficientScope,
        }
    }
}

/// The author of an answer that has a [`Cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The upstream. Status, headers and body are its own.
    Upstream,
    /// This crate. Nothing was sent, or the reserved attempt became impossible.
    Local,
}

/// The typed cause of a local answer, or of an upstream's rejection of a credential of the pool.
///
/// It is in the response's extensions; [`failure`](crate::failure) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The code.
    pub code: Code,
    /// The author of the answer.
    pub origin: Origin,
    /// The time after which the same request may succeed, if known.
    pub retry_after: Option<Duration>,
    /// Whether a new token from the same source would help.
    pub requires_refresh: bool,
    /// When the credential expired, if that is the reason and known.
    pub expired_at: Option<SystemTime>,
}

impl Cause {
    /// Creates the cause of a local answer.
    pub const fn local(code: Code) -> Self {
        Self {
            code,
            origin: Origin::Local,
            retry_after: None,
            requires_refresh: code.requires_refresh(false),
            expired_at: None,
        }
    }

    /// Creates the cause of an upstream's answer.
    pub const fn upstream(code: Code) -> Self {
        Self { origin: Origin::Upstream, ..Self::local(code) }
    }

    /// Sets whether the account's source can mint, and when its credential expired.
    #[must_use]
    pub(crate) const fn of_pool(mut self, can_mint: bool, expired_at: Option<SystemTime>) -> Self {
        self.requires_refresh = self.code.requires_refresh(can_mint);
        self.expired_at = expired_at;
        self
    }

    /// Returns whether a token source is being called, so that waiting may help.
    pub(crate) fn is_under_way(&self) -> bool {
        (self.code, self.origin, self.retry_after) == (Code::NotReady, Origin::Local, None)
    }

    /// Sets the time after which the request may succeed.
    #[must_use]
    pub const fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code.message(), self.code)?;
        match self.retry_after {
            Some(delay) => write!(f, "; again in {delay:?}"),
            None => Ok(()),
        }
    }
}
