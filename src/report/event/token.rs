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
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenEvent {
    /// Which account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// What there is to tell.
    pub news: TokenNews,
}

/// What there is to tell of a token.
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenNews {
    /// It ends soon, and no source will replace it: told once at each lead that was set.
    Expiring {
        /// How long it is good yet.
        expires_in: Duration,
        /// When it ends, as a clock on the wall shows it.
        expires_at: Option<SystemTime>,
    },
    /// Its source gave no other: told once for each row of failures, and once more when only a person
    /// can help while the old one is good. When that is out, the account is, and tells why:
    /// [`AccountOut`](crate::report::AccountOut).
    RefreshFailed {
        /// What the source said: shortened, escaped, without secrets.
        why: Box<str>,
        /// What is wrong with the account, if only a person can help.
        reason: Option<Reason>,
        /// How long the old token is good yet; `None` if it may not be sent. [`Duration::MAX`] when
        /// nothing is known of its end.
        good_for: Option<Duration>,
        /// After how long the source may be asked again; `None` if it is not.
        again_in: Option<Duration>,
    },
    /// It had ended before it came in: one of the two clocks is wrong. It is sent all the same. Told
    /// once for each pool.
    ClockSkew {
        /// By so much, if its own date is right.
        late: Duration,
    },
}

impl TokenEvent {
    /// `news` about the credential of `generation`.
    pub const fn new(account: AccountTag, generation: u64, news: TokenNews) -> Self {
        Self { account, generation, news }
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.news.as_str()
    }
}

impl TokenNews {
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
        match &self.news {
            TokenNews::Expiring { expires_in, .. } => {
                write!(f, "token expires in {} s", whole_seconds(*expires_in))
            }
            TokenNews::ClockSkew { late } => {
                let late = whole_seconds(*late);
                write!(f, "token came in {late} s after its end, by this clock; it is sent anyway")
            }
            TokenNews::RefreshFailed { why, reason, good_for, again_in } => {
                write!(f, "no new token: {}", Quoted(why))?;
                if let Some(reason) = reason {
                    write!(f, " ({})", reason.as_str())?;
                }
                match good_for {
                    Some(Duration::MAX) => f.write_str("; the old one stays in use")?,
                    Some(left) => {
                        write!(f, "; the old one is good for {} s", whole_seconds(*left))?;
                    }
                    None => f.write_str("; there is no other")?,
                }
                match again_in {
                    Some(again) => write!(f, "; asked again in {} s", whole_seconds(*again)),
                    None => f.write_str("; a person must act"),
                }
            }
        }
    }
}
