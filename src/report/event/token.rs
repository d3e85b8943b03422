//! What is told of a token before, or without, a refusal.

use std::{
    fmt::{self, Formatter},
    time::{Duration, SystemTime},
};

use super::incident::AccountTag;
use crate::{
    classify::Reason,
    report::text::{Quoted, whole_seconds},
};

/// Something about an account's token that no request has met yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenEvent {
    /// Which account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// What happened.
    pub kind: TokenEventKind,
}

/// The kinds of a [`TokenEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenEventKind {
    /// It ends soon, and no source will replace it: told once at each lead that was set.
    Expiring {
        /// How long it is good yet.
        expires_in: Duration,
        /// When it ends, as a clock on the wall shows it.
        expires_at: Option<SystemTime>,
    },
    /// Its source gave no other: told once for each row of failures, and once more when only a person
    /// can help while the old one is valid. When that has expired, the account is out: see
    /// [`AccountOut`](crate::report::AccountOut).
    RefreshFailed {
        /// The source's error: shortened, escaped, without secrets.
        error: Box<str>,
        /// What is wrong with the account, if only a person can help.
        reason: Option<Reason>,
        /// How long the old token is still valid; `None` if it may not be sent. [`Duration::MAX`] when
        /// its expiry is unknown.
        valid_for: Option<Duration>,
        /// After how long the source may be called again; `None` if it is not.
        next_call_in: Option<Duration>,
    },
    /// It had ended before it came in: one of the two clocks is wrong. It is sent all the same. Told
    /// once for each pool.
    ClockSkew {
        /// By so much, if its own date is right.
        late: Duration,
    },
}

impl TokenEvent {
    /// An event of this kind about the credential of `generation`.
    pub const fn new(account: AccountTag, generation: u64, kind: TokenEventKind) -> Self {
        Self { account, generation, kind }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl TokenEventKind {
    /// A stable word for logs and metrics.
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
                write!(f, "token came in {late} s after its end, by this clock; it is sent anyway")
            }
            TokenEventKind::RefreshFailed { error, reason, valid_for, next_call_in } => {
                write!(f, "no new token: {}", Quoted(error))?;
                if let Some(reason) = reason {
                    write!(f, " ({})", reason.as_str())?;
                }
                match valid_for {
                    Some(Duration::MAX) => f.write_str("; the old one stays in use")?,
                    Some(left) => {
                        write!(f, "; the old one is good for {} s", whole_seconds(*left))?;
                    }
                    None => f.write_str("; there is no other")?,
                }
                match next_call_in {
                    Some(again) => write!(f, "; asked again in {} s", whole_seconds(*again)),
                    None => f.write_str("; a person must act"),
                }
            }
        }
    }
}
