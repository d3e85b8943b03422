//! Incidents of accounts and pools.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use crate::{
    classify::Reason,
    report::text::{OneLine, Quoted, whole_seconds},
};

/// An account, as it is listed in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountTag {
    /// The account's id.
    pub id: Arc<str>,
    /// The account's position in the pool, from 1.
    pub ordinal: usize,
    /// The number of accounts in the pool.
    pub of: usize,
}

/// The reason for which an account is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutReason {
    /// Its credential was rejected.
    Rejected(Reason),
    /// Its quota is used up.
    OutOfQuota,
    /// Its credential has expired by the local clock, and no source replaces it.
    Expired,
    /// Its source returned a terminal error: a person must act.
    RefreshFailed(Reason),
}

/// An incident of an account: it is not used for a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountOut {
    /// The account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// The reason.
    pub reason: OutReason,
    /// The status of the response that caused it, if it was one.
    pub status: Option<StatusCode>,
    /// The time for which the account is not used, from now. [`Duration::MAX`] means until a person acts.
    pub out_for: Duration,
    /// When the credential expired, if that is the reason and known.
    pub expired_at: Option<SystemTime>,
    /// The time since then.
    pub expired_ago: Option<Duration>,
    /// The error of the account's source, if that is the cause: shortened, escaped, without secrets.
    pub error: Option<Box<str>>,
}

/// An incident of a pool: no account is usable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolDead {
    /// The number of accounts in the pool, all of them out.
    pub accounts: usize,
    /// The incident of the last usable account.
    pub cause: AccountOut,
    /// The pool's help text for its owner.
    pub help: Option<Arc<str>>,
}

impl AccountTag {
    /// Creates the tag of the account `id`, number `ordinal` (from 1) of `of`.
    pub fn new(id: impl Into<Arc<str>>, ordinal: usize, of: usize) -> Self {
        Self { id: id.into(), ordinal, of }
    }
}

impl OutReason {
    /// Returns whether the credential has expired, by the local clock or by the upstream.
    pub(crate) const fn is_expiry(self) -> bool {
        matches!(self, Self::Expired | Self::Rejected(Reason::Expired))
    }

    /// Returns the stable code for logs and metrics. A rejected or expired credential has the code of
    /// its [`Reason`].
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.as_str(),
            Self::OutOfQuota => "out_of_quota",
            Self::Expired => Reason::Expired.as_str(),
            Self::RefreshFailed(_) => "refresh_failed",
        }
    }
}

impl AccountOut {
    /// Creates the incident: the account is out for `reason`, and not used for `out_for`.
    ///
    /// `status` is that of the response, or `None` if the cause was an error.
    pub const fn new(
        account: AccountTag,
        generation: u64,
        reason: OutReason,
        status: Option<StatusCode>,
        out_for: Duration,
    ) -> Self {
        let (expired_at, expired_ago, error) = (None, None, None);
        Self { account, generation, reason, status, out_for, expired_at, expired_ago, error }
    }
}

impl PoolDead {
    /// Creates the incident: all `accounts` are out, the last one by `cause`.
    pub const fn new(accounts: usize, cause: AccountOut, help: Option<Arc<str>>) -> Self {
        Self { accounts, cause, help }
    }
}

impl fmt::Display for AccountTag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "account {} (#{} of {})", Quoted(&self.id), self.ordinal, self.of)
    }
}

impl fmt::Display for AccountOut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.account)?;
        let state = match self.reason {
            OutReason::Rejected(_) => {
                f.write_str("token rejected (")?;
                if let Some(status) = self.status {
                    write!(f, "{} ", status.as_u16())?;
                }
                write!(f, "{}); ", self.reason.as_str())?;
                "quarantined"
            }
            OutReason::OutOfQuota => {
                f.write_str("out of quota")?;
                if let Some(status) = self.status {
                    write!(f, " ({})", status.as_u16())?;
                }
                f.write_str("; ")?;
                "cooling"
            }
            OutReason::Expired => {
                f.write_str("token expired")?;
                if let Some(ago) = self.expired_ago {
                    write!(f, " {} s ago", ago.as_secs())?;
                }
                f.write_str("; ")?;
                "out"
            }
            OutReason::RefreshFailed(reason) => {
                f.write_str("no new token")?;
                if let Some(error) = &self.error {
                    write!(f, ": {}", Quoted(error))?;
                }
                write!(f, " ({}); ", reason.as_str())?;
                "out"
            }
        };
        if self.out_for == Duration::MAX {
            return f.write_str("retired until a person acts");
        }
        write!(f, "{state} for {} s", whole_seconds(self.out_for))
    }
}

impl fmt::Display for PoolDead {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.cause.reason, self.accounts) {
            (OutReason::Rejected(_), 1) => f.write_str("the only credential is rejected")?,
            (OutReason::Rejected(_), all) => write!(f, "all {all} credentials are rejected")?,
            (_, 1) => f.write_str("the only account is out")?,
            (_, all) => write!(f, "all {all} accounts are out")?,
        }
        if let Some(help) = &self.help {
            write!(f, ": {}", OneLine(help))?;
        }
        write!(f, "; the last: {}", self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{Code, Verdict};

    #[test]
    fn reason_has_one_code_in_verdict_event_and_answer() {
        for reason in [
            Reason::Missing,
            Reason::Expired,
            Reason::Invalid,
            Reason::Revoked,
            Reason::Inactive,
            Reason::InsufficientScope,
        ] {
            assert_eq!(Verdict::Unauthorized(reason).as_str(), reason.as_str());
            assert_eq!(OutReason::Rejected(reason).as_str(), reason.as_str());
            assert_eq!(Code::from(reason).as_str(), reason.as_str());
        }
        assert_eq!(OutReason::Expired.as_str(), Code::CredentialExpired.as_str());
        assert_eq!(OutReason::OutOfQuota.as_str(), Code::OutOfQuota.as_str());
        assert_eq!(Verdict::out_of_quota().as_str(), Code::OutOfQuota.as_str());
    }
}
