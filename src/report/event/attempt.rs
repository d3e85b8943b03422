//! What is kept of each failed attempt.

use std::{
    fmt::{self, Formatter, Write as _},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;

use crate::{classify::Verdict, report::text::Quoted};

/// Why a failed request was not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotResent {
    /// The verdict is final: nobody sends such a request again (a 401 without another account, a 404).
    Final,
    /// The upstream may have done the work, and repeating it may not be harmless (RFC 9110 §9.2.2).
    PerhapsDone,
    /// The body was sent once and is gone.
    SentOnce,
    /// The body was still being made when it was sent.
    Streaming,
    /// The body is larger than what is kept.
    TooLarge,
    /// The request names no model.
    NoModel,
    /// The request names the model twice.
    AmbiguousModel,
    /// The body that should name the model is not JSON.
    NotJson,
    /// The body that should name the model has a `content-encoding`.
    EncodedBody,
    /// There is no other model to fall back to.
    NoFallback,
    /// All attempts of the request are used up.
    Attempts,
    /// All retries are used up.
    Retries,
    /// The request has had as many accounts refused as one request may.
    Refusals,
    /// The deadline has passed, or the wait would go beyond it.
    Deadline,
    /// The server wants a longer rest than a request may wait.
    WaitTooLong,
    /// The shared retry budget is empty.
    Budget,
    /// No other account can serve.
    NoAccount,
    /// The request asked not to be sent again.
    OptedOut,
    /// No timer is there to wait with: not inside a tokio runtime with time enabled.
    NoTimer,
}

impl NotResent {
    /// A stable word for logs and metrics.
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

/// What followed a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// Sent again after this wait, for a reason that is not the credential's.
    Retried(Duration),
    /// Sent again with another account.
    Rotated,
    /// Sent again with a newer credential of the same account.
    Replayed,
    /// Sent again with another model.
    FellBack,
    /// Not sent again.
    NotResent(NotResent),
}

impl Followed {
    /// The stable code for logs and metrics, without the wait and without the reason.
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

/// One failed attempt, as it stands in a trail.
///
/// ```
/// use tower_failover::report::{Followed, NotResent, RequestRecord};
///
/// /// Whether a request was given up because doing it twice may not be harmless.
/// fn perhaps_done(record: &RequestRecord) -> bool {
///     let last = record.trail.last().map(|attempt| attempt.followed);
///     last == Some(Followed::NotResent(NotResent::PerhapsDone))
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The id of the account whose credential was sent, when it was one of ours.
    pub account: Option<Arc<str>>,
    /// The generation of that credential.
    pub generation: Option<u64>,
    /// The model, when a layer chose it.
    pub model: Option<Arc<str>>,
    /// The status of the answer; `None` when there was an error in its place.
    pub status: Option<StatusCode>,
    /// What the error said: shortened, escaped, without secrets.
    pub error: Option<Box<str>>,
    /// What it meant.
    pub verdict: Verdict,
    /// Whether any credential was on the request.
    pub credential: bool,
    /// The upstream's own id for the request.
    pub upstream_request_id: Option<Box<str>>,
    /// What followed.
    pub followed: Followed,
}

impl Attempt {
    /// An attempt that ended with `verdict` and was not sent again; the fields tell the rest.
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
