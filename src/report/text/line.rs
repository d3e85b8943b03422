//! The one line that each event is for a person.

use std::{
    fmt::{self, Formatter, Write as _},
    time::Duration,
};

use super::text::OneLine;
use crate::report::event::{
    AccountOut, AccountTag, Attempt, Coalesced, Event, OutReason, Outcome, PoolDead, RequestRecord,
};

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

impl RequestRecord {
    fn write(&self, what: &str, f: &mut Formatter<'_>) -> fmt::Result {
        let path = OneLine(&self.path);
        write!(f, "{} {path} {what}", OneLine(self.method.as_str()))?;
        self.outcome.write(f)?;
        if self.sent {
            let (attempts, s) = (self.trail.len(), plural(self.trail.len()));
            write!(f, " after {attempts} failed attempt{s}")?;
            write!(f, " in {}", Elapsed(self.elapsed))?;
        } else {
            f.write_str(", nothing was sent")?;
        }
        for (index, attempt) in self.trail.iter().enumerate() {
            let before = if index == 0 { ":" } else { ";" };
            write!(f, "{before} [{}] {attempt}", index + 1)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "; request id {}", Quoted(id))?;
        }
        match &self.label {
            Some(label) => write!(f, "; label {}", Quoted(label)),
            None => Ok(()),
        }
    }
}

impl Outcome {
    /// What follows the verb.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status) => write!(f, " with {}", status.as_u16()),
            Self::Error(error) => write!(f, " with error {}", Quoted(error)),
            Self::Local(code) => {
                let message = code.message().trim_end_matches('.');
                write!(f, " with a local {} ({code}: {message})", code.status().as_u16())
            }
            Self::Dropped => Ok(()),
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

/// A foreign word between quotes.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", OneLine(self.0))
    }
}

/// A measured time, as exact as a person wants it.
struct Elapsed(Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            return write!(f, "{} ms", self.0.as_millis());
        }
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// Rounded up: whoever looks when the time is up shall not be early.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more)
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests;
