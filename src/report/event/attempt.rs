//! The record of one failed attempt.

use std::{
    fmt::{self, Formatter, Write as _},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;

use crate::{classify::Verdict, report::text::Quoted};

/// The reason for which a failed attempt was not followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotResent {
    /// The verdict is final: no layer resends such a request (a 401 without another account, a 404).
    Final,
    /// The upstream may have done the work, and the request is not idempotent (RFC 9110 §9.2.2).
    PerhapsDone,
    /// The body was sent without being kept.
    SentOnce,
    /// The body was not complete when it was sent.
    Streaming,
    /// The body is larger than the limit for kept bodies.
    TooLarge,
    /// The request names no model.
    NoModel,
    /// The request names the model twice.
    AmbiguousModel,
    /// The body in which the model is looked for is not JSON.
    NotJson,
    /// The body in which the model is looked for has a `content-encoding`.
    EncodedBody,
    /// The chain has no other model.
    NoFallback,
    /// All attempts of the request are used up.
    Attempts,
    /// All retries are used up.
    Retries,
    /// `max_refusals` accounts were rejected for this request.
    Refusals,
    /// The deadline has passed, or would pass during the wait.
    Deadline,
    /// The server asks for a delay above `max_wait`.
    WaitTooLong,
    /// The shared retry budget is empty.
    Budget,
    /// No other account can serve.
    NoAccount,
    /// The request's options forbid it.
    OptedOut,
    /// The wait needs a tokio runtime with its timer enabled, and there is none.
    NoTimer,
}

impl NotResent {
    /// Returns the stable code for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::PerhapsDone => "perhaps_done",
            Self::SentOnce => "sent_once",
            Self::Streaming => "streaming",
            Self::TooLarge => "too_large",
            Self::NoModel => "no_model",
            Self::AmbiguousModel => "ambiguous_model",
            Self::NotJson => "not_json",
            Self::EncodedBody => "encoded_body",
            Self::NoFallback => "no_fallback",
            Self::Attempts => "attempts",
            Self::Retries => "retries",
            Self::Refusals => "refusals",
            Self::Deadline => "deadline",
            Self::WaitTooLong => "wait_too_long",
            Self::Budget => "budget",
            Self::NoAccount => "no_account",
            Self::OptedOut => "opted_out",
            Self::NoTimer => "no_timer",
        }
    }
}

impl fmt::Display for NotResent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The step that followed a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// It repeated the attempt after this wait, for a reason other than the credential.
    Retried(Duration),
    /// It sent the request with another account.
    Rotated,
    /// It sent the request with a newer credential of the same account.
    Replayed,
    /// It sent the request with another model.
    FellBack,
    /// It did not resend the request.
    NotResent(NotResent),
}

impl Followed {
    /// Returns the stable code for logs and metrics, without the wait or the reason.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Retried(_) => "retried",
            Self::Rotated => "rotated",
            Self::Replayed => "replayed",
            Self::FellBack => "fell_back",
            Self::NotResent(_) => "not_resent",
        }
    }
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Retried(wait) if !wait.is_zero() => write!(f, " after {wait:?}"),
            Self::NotResent(why) => write!(f, ": {why}"),
            _ => Ok(()),
        }
    }
}

/// One failed attempt of a trail.
///
/// ```
/// use tower_failover::report::{Followed, NotResent, RequestRecord};
///
/// /// Returns whether a request was not resent because the work may have been done.
/// fn perhaps_done(record: &RequestRecord) -> bool {
///     let last = record.trail.last().map(|attempt| attempt.followed);
///     last == Some(Followed::NotResent(NotResent::PerhapsDone))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The id of the pool's account whose credential was sent.
    pub account: Option<Arc<str>>,
    /// The generation of that credential.
    pub generation: Option<u64>,
    /// The model, if a layer chose it.
    pub model: Option<Arc<str>>,
    /// The status of the answer; `None` if there was an error instead.
    pub status: Option<StatusCode>,
    /// The text of the error: shortened, escaped, without secrets.
    pub error: Option<Box<str>>,
    /// The meaning of the answer or error.
    pub verdict: Verdict,
    /// Whether the request had any credential.
    pub credential: bool,
    /// The upstream's own id for the request.
    pub upstream_request_id: Option<Box<str>>,
    /// The step that followed.
    pub followed: Followed,
}

impl Attempt {
    /// Creates a record with this verdict, not resent; its fields can be set afterwards.
    pub const fn new(verdict: Verdict) -> Self {
        Self {
            account: None,
            generation: None,
            model: None,
            status: None,
            error: None,
            verdict,
            credential: false,
            upstream_request_id: None,
            followed: Followed::NotResent(NotResent::Final),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "account {}", Quoted(account))?,
            None if self.credential => f.write_str("the caller's credential")?,
            None => f.write_str("no credential")?,
        }
        if let Some(model) = &self.model {
            write!(f, ", model {}", Quoted(model))?;
        }
        f.write_char(':')?;
        if let Some(status) = self.status {
            write!(f, " {}", status.as_u16())?;
        }
        if let Some(error) = &self.error {
            write!(f, " error {}", Quoted(error))?;
        }
        write!(f, " {}, {}", self.verdict, self.followed)?;
        match &self.upstream_request_id {
            Some(id) => write!(f, ", upstream id {}", Quoted(id)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followed_has_a_code_and_shows_the_wait_or_the_reason() {
        let wait = Duration::from_millis(100);
        for (followed, code, shown) in [
            (Followed::Retried(Duration::ZERO), "retried", "retried"),
            (Followed::Retried(wait), "retried", "retried after 100ms"),
            (Followed::Rotated, "rotated", "rotated"),
            (Followed::Replayed, "replayed", "replayed"),
            (Followed::FellBack, "fell_back", "fell_back"),
            (Followed::NotResent(NotResent::Budget), "not_resent", "not_resent: budget"),
        ] {
            assert_eq!((followed.as_str(), &*followed.to_string()), (code, shown));
        }
    }
}
