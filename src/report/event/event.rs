//! What is told: failed requests and incidents.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::{
    attempt::Attempt,
    incident::{AccountOut, PoolDead},
    token::TokenEvent,
};
use crate::classify::Code;

/// How urgent an event is; the tracing reporter uses the level of the same name.
///
/// [`Event`] has an example.
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

/// A request and its trail.
///
/// [`Event`] has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The request's method.
    pub method: Method,
    /// The request's path, without the query: shortened, escaped, without secrets.
    pub path: Box<str>,
    /// The caller's `x-request-id`.
    pub request_id: Option<Box<str>>,
    /// The label of the request's options.
    pub label: Option<Arc<str>>,
    /// Every failed attempt, oldest first. Empty when nothing was sent.
    pub trail: Vec<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether anything went out; `false` when the request was answered without the upstream.
    pub sent: bool,
    /// How long the request took, waits included.
    pub elapsed: Duration,
}

/// How a request ended.
///
/// [`Event`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer of the upstream.
    Answer(StatusCode),
    /// With an error: shortened, escaped, without secrets.
    Error(Box<str>),
    /// With an answer of this crate's own.
    Local(Code),
    /// The caller did not wait for the end.
    Dropped,
}

/// Events that were held back, as one.
///
/// [`Coalesce`](crate::report::Coalesce) has an example.
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

impl RequestRecord {
    /// A request that ended with `outcome`, with an empty trail; the fields tell the rest.
    ///
    /// It counts as sent, unless the outcome is a local answer.
    pub fn new(method: Method, path: impl Into<Box<str>>, outcome: Outcome) -> Self {
        let sent = !matches!(outcome, Outcome::Local(_));
        Self {
            method,
            path: path.into(),
            request_id: None,
            label: None,
            trail: Vec::new(),
            outcome,
            sent,
            elapsed: Duration::ZERO,
        }
    }
}

impl Outcome {
    /// A stable word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Error(_) => "error",
            Self::Local(_) => "local",
            Self::Dropped => "dropped",
        }
    }

    /// The status that the caller got, when it was a response.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(status) => Some(*status),
            Self::Local(code) => Some(code.status()),
            Self::Error(_) | Self::Dropped => None,
        }
    }
}

impl Coalesced {
    /// `held_back` events, of which `last` came last, were held back within `window`.
    pub fn new(last: Event, held_back: u64, window: Duration) -> Self {
        Self { last: Box::new(last), held_back, window }
    }
}
