//! Events of a token that no request has met.

use std::{
    fmt::{self, Formatter},
    time::{Duration, SystemTime},
};

use super::incident::AccountTag;
use crate::{
    classify::Reason,
    report::text::{Quoted, whole_seconds},
};

/// An event of an account's token that no request has met.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenEvent {
    /// The account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// The kind of the event.
    pub kind: TokenEventKind,
}

/// The kinds of a [`TokenEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEventKind {
    /// The token expires soon, and no source replaces it. Reported once for each time set by
    /// [`expiry_warnings`](crate::pool::PoolBuilder::expiry_warnings).
    Expiring {
        /// How long the token is still valid.
        expires_in: Duration,
        /// When it expires, by the wall clock.
        expires_at: Option<SystemTime>,
    },
    /// The source returned no new token. Reported once for each series of failures, and once more if
    /// the error is terminal while the old token is valid. An account whose token has expired is
    /// reported as [`AccountOut`](crate::report::AccountOut).
    RefreshFailed {
        /// The source's error: shortened, escaped, without secrets.
        error: Box<str>,
        /// The reason, if the error is terminal.
        reason: Option<Reason>,
        /// How long the old token is still valid; `None` if it must not be sent. [`Duration::MAX`] if
        /// its expiry is unknown.
        valid_for: Option<Duration>,
        /// The time until the source may be called again; `None` if it is not called again.
        next_call_in: Option<Duration>,
    },
    /// The token had expired before it arrived, so one of the two clocks is wrong. It is sent
    /// nevertheless. Reported once for each pool.
    ClockSkew {
        /// The time between its expiry and its arrival.
        late: Duration,
    },
}

impl TokenEvent {
    /// Creates an event of this kind for the credential of `generation`.
    pub const fn new(account: AccountTag, generation: u64, kind: TokenEventKind) -> Self {
        Self { account, generation, kind }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl TokenEventKind {
    /// Returns the stable code for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Expiring { .. } => "credential_expiring",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::ClockSkew { .. } => "clock_skew",
        }
    }
}

impl fmt::Display for TokenEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.account)?;
        match &self.kind {
            TokenEventKind::Expiring { expires_in, .. } => {
                write!(f, "token expires in {} s", whole_seconds(*expires_in))
            }
            TokenEventKind::ClockSkew { late } => {
                let late = whole_seconds(*late);
                write!(
                    f,
                    "token expired {late} s before it arrived, by this clock; it is sent anyway"
                )
            }
            TokenEventKind::RefreshFailed { error, reason, valid_for, next_call_in } => {
                write!(f, "no new token: {}", Quoted(error))?;
                if let Some(reason) = reason {
                    write!(f, " ({})", reason.as_str())?;
                }
                match valid_for {
                    Some(Duration::MAX) => f.write_str("; the old one stays in use")?,
                    Some(left) => {
                        write!(f, "; the old one is valid for {} s", whole_seconds(*left))?;
                    }
                    None => f.write_str("; there is no other")?,
                }
                match next_call_in {
                    Some(again) => {
                        write!(f, "; the source is called again in {} s", whole_seconds(*again))
                    }
                    None => f.write_str("; a person must act"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: TokenEventKind) -> String {
        TokenEvent::new(AccountTag::new("alice", 1, 2), 7, kind).to_string()
    }

    #[test]
    fn token_event_shows_account_and_kind() {
        let secs = Duration::from_secs;
        let failed = |reason, valid_for, next_call_in| TokenEventKind::RefreshFailed {
            error: "the vault is sealed".into(),
            reason,
            valid_for,
            next_call_in,
        };
        for (kind, shown) in [
            (
                TokenEventKind::Expiring {
                    expires_in: Duration::from_millis(59_001),
                    expires_at: None,
                },
                "token expires in 60 s",
            ),
            (
                TokenEventKind::ClockSkew { late: secs(90) },
                "token expired 90 s before it arrived, by this clock; it is sent anyway",
            ),
            (
                failed(None, Some(secs(30)), Some(secs(5))),
                "no new token: \"the vault is sealed\"; the old one is valid for 30 s; \
                 the source is called again in 5 s",
            ),
            (
                failed(None, Some(Duration::MAX), Some(secs(5))),
                "no new token: \"the vault is sealed\"; the old one stays in use; \
                 the source is called again in 5 s",
            ),
            (
                failed(Some(Reason::Revoked), None, None),
                "no new token: \"the vault is sealed\" (credential_revoked); there is no other; \
                 a person must act",
            ),
        ] {
            assert_eq!(line(kind), format!("account \"alice\" (#1 of 2): {shown}"));
        }
    }
}
