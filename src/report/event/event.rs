//! What is told: failed requests and incidents.

use std::{
    fmt::{self, Formatter},
    time::Duration,
};

use super::{
    incident::{AccountOut, PoolDead},
    request::RequestRecord,
    token::TokenEvent,
};

/// How urgent an event is; the tracing reporter uses the level of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// For whoever looks closely.
    Debug,
    /// An account needs a person.
    Warn,
    /// Requests fail.
    Error,
}

/// One thing that happened, told once.
///
/// ```
/// use tower_failover::{report::OutReason, Event};
///
/// /// What is worth waking somebody up for.
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
    /// A request succeeded after failed attempts; told only when asked for.
    RequestRecovered(RequestRecord),
    /// A request was dropped after a failed attempt.
    RequestAbandoned(RequestRecord),
    /// An account's credential was refused, or its quota is used up.
    AccountOut(AccountOut),
    /// No account of the pool is usable any more; the last refusal is the cause.
    PoolDead(PoolDead),
    /// An account's token ends soon, was not replaced, or came in with a date that cannot be right.
    Token(TokenEvent),
    /// A [`Coalesce`](crate::report::Coalesce) held back events that were like one told before.
    Coalesced(Coalesced),
}

/// Events that were held back, as one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Coalesced {
    /// The last of them, which stands for all: their [cause](crate::report::Coalesce#fingerprint) is one.
    pub last: Box<Event>,
    /// How many they are, the last included, and not the one that was told at once.
    pub held_back: u64,
    /// Within how long they happened, at most.
    pub window: Duration,
}

impl Severity {
    /// A stable word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl Event {
    /// A stable word for logs and metrics, and for alerts to match on.
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

    /// How urgent this is.
    ///
    /// A request that was answered locally is no news: the incident behind it was told when it
    /// happened, once. Events that were held back are as urgent together as each of them.
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

    /// Whether this is about an account or the pool, not about one request.
    pub const fn is_incident(&self) -> bool {
        matches!(self, Self::AccountOut(_) | Self::PoolDead(_) | Self::Token(_))
    }

    /// Whether a request failed for good.
    ///
    /// One that recovered or was abandoned is no failure. Failures that were held back are not *one*
    /// failure either: [`Coalesced::held_back`] says how many they are.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::RequestFailed(_))
    }

    /// The request and its trail, when this is about one request: not about several that were held
    /// back.
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
    /// `held_back` events, of which `last` came last, were held back within `window`.
    pub fn new(last: Event, held_back: u64, window: Duration) -> Self {
        Self { last: Box::new(last), held_back, window }
    }
}

/// One line, whatever the fields hold: control characters are written as escapes.
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
