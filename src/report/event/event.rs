//! The event: a failed request or an incident.

use std::{
    fmt::{self, Formatter},
    time::Duration,
};

use super::{
    incident::{AccountOut, PoolDead},
    request::RequestRecord,
    token::TokenEvent,
};

/// The severity of an event. The tracing reporter uses the level of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// For debugging; no action is needed.
    Debug,
    /// An account needs attention.
    Warn,
    /// Requests fail.
    Error,
}

/// A failed request or an incident, reported once.
///
/// ```
/// use tower_failover::{report::OutReason, Event};
///
/// /// Returns the text of a page to the person on call.
/// fn page(event: &Event) -> Option<String> {
///     match event {
///         Event::PoolDead(dead) => Some(format!("all {} accounts are out", dead.accounts)),
///         Event::AccountOut(out) if out.reason == OutReason::OutOfQuota => {
///             Some(format!("{} has no quota left", out.account.id))
///         }
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request failed for good.
    RequestFailed(RequestRecord),
    /// A request succeeded after failed attempts. Reported only if switched on.
    RequestRecovered(RequestRecord),
    /// A request was dropped after a failed attempt.
    RequestAbandoned(RequestRecord),
    /// An account's credential was rejected, has expired or is not replaced, or its quota is used up.
    AccountOut(AccountOut),
    /// No account of the pool is usable any more; the last incident is the cause.
    PoolDead(PoolDead),
    /// An account's token expires soon, was not replaced, or had expired before it arrived.
    Token(TokenEvent),
    /// A [`Coalesce`](crate::report::Coalesce) held back events similar to one reported before.
    Coalesced(Coalesced),
}

/// The number of similar events that were held back, and the last of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Coalesced {
    /// The last event held back. All of them have the same
    /// [fingerprint](crate::report::Coalesce#fingerprint).
    pub last: Box<Event>,
    /// The number of events held back, including the last, without the one reported at once.
    pub held_back: u64,
    /// The length of the window in which they happened.
    pub window: Duration,
}

impl Severity {
    /// Returns the stable code for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Event {
    /// Returns the stable code for logs, metrics and alerts.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RequestFailed(_) => "request_failed",
            Self::RequestRecovered(_) => "request_recovered",
            Self::RequestAbandoned(_) => "request_abandoned",
            Self::AccountOut(_) => "account_out",
            Self::PoolDead(_) => "pool_dead",
            Self::Token(token) => token.code(),
            Self::Coalesced(_) => "coalesced",
        }
    }

    /// Returns the severity.
    ///
    /// A request that was answered locally is at debug level: the incident behind it was reported
    /// when it happened. Events held back have the severity of the last of them.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::PoolDead(_) => Severity::Error,
            Self::RequestFailed(record) if record.sent => Severity::Error,
            Self::AccountOut(_) | Self::Token(_) => Severity::Warn,
            Self::RequestFailed(_) | Self::RequestRecovered(_) | Self::RequestAbandoned(_) => {
                Severity::Debug
            }
            Self::Coalesced(coalesced) => coalesced.last.severity(),
        }
    }

    /// Returns whether the event is about an account or the pool, not about one request.
    pub const fn is_incident(&self) -> bool {
        matches!(self, Self::AccountOut(_) | Self::PoolDead(_) | Self::Token(_))
    }

    /// Returns whether the event is a request that failed for good.
    ///
    /// False for recovered and abandoned requests, and for [`Event::Coalesced`], which stands for
    /// [several](Coalesced::held_back) failures.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::RequestFailed(_))
    }

    /// Returns the request and its trail if the event is about one request. None for
    /// [`Event::Coalesced`].
    pub const fn record(&self) -> Option<&RequestRecord> {
        match self {
            Self::RequestFailed(record)
            | Self::RequestRecovered(record)
            | Self::RequestAbandoned(record) => Some(record),
            Self::AccountOut(_) | Self::PoolDead(_) | Self::Token(_) | Self::Coalesced(_) => None,
        }
    }
}

impl Coalesced {
    /// Creates the event for `held_back` events within `window`, `last` being the last of them.
    pub fn new(last: Event, held_back: u64, window: Duration) -> Self {
        Self { last: Box::new(last), held_back, window }
    }
}

/// Shows the event as one line. Control characters in its fields are escaped.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::Reason;
/// use tower_failover::{report::{AccountOut, AccountTag, OutReason}, Event};
///
/// let out = AccountOut::new(
///     AccountTag::new("alice", 1, 2),
///     1,
///     OutReason::Rejected(Reason::Invalid),
///     Some(http::StatusCode::UNAUTHORIZED),
///     Duration::from_secs(300),
/// );
/// assert_eq!(
///     Event::AccountOut(out).to_string(),
///     r#"account "alice" (#1 of 2): token rejected (401 credential_invalid); quarantined for 300 s"#,
/// );
/// ```
impl fmt::Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestFailed(record) => record.write("failed", f),
            Self::RequestRecovered(record) => record.write("recovered", f),
            Self::RequestAbandoned(record) => record.write("was abandoned", f),
            Self::AccountOut(out) => out.fmt(f),
            Self::PoolDead(dead) => dead.fmt(f),
            Self::Token(token) => token.fmt(f),
            Self::Coalesced(coalesced) => coalesced.fmt(f),
        }
    }
}

impl fmt::Display for Coalesced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let were = if self.held_back == 1 { "was" } else { "were" };
        write!(f, "{} more like this {were} held back within ", self.held_back)?;
        match (self.window.as_secs(), self.window.subsec_nanos()) {
            (seconds, 0) => write!(f, "{seconds} s")?,
            _ => write!(f, "{:?}", self.window)?,
        }
        write!(f, "; the last: {}", self.last)
    }
}

#[cfg(test)]
mod tests;
