//! A reporter that passes events to `tracing`.

use ::tracing::{Level, event};
use http::StatusCode;

use super::reporter::Reporter;
use crate::report::{
    AccountOut, Attempt, Coalesced, Event, Followed, Outcome, PoolDead, RequestRecord, Severity,
    TokenEvent, TokenEventKind,
};

/// A reporter that passes each event to the current subscriber of `tracing`, with the target
/// `tower_failover`.
///
/// The message is the event's line, and the level its [`Severity`]. Fields without a value are left
/// out.
///
/// | event | fields |
/// | --- | --- |
/// | all | `code` |
/// | of a request | `method`, `path`, `outcome`, `status`, `answer`, `error`, `sent`, `attempts`, `account`, `model`, `verdict`, `not_resent`, `request_id`, `upstream_request_id`, `label`, `elapsed_ms` |
/// | `account_out` | `account`, `ordinal`, `accounts`, `generation`, `reason`, `status`, `out_for_ms`, `expired_at` (seconds since 1970), `expired_seconds_ago`, `error` |
/// | of a token | `account`, `ordinal`, `accounts`, `generation`, `expires_in_ms`, `expires_at`, `late_ms`, `reason`, `valid_for_ms`, `next_call_in_ms` |
/// | `pool_dead` | those of its cause, and `help` |
/// | `coalesced` | `of`, `held_back`, `window_ms`; of the last request `method`, `path`, `outcome`, `status`, `account`, `model`, `verdict`, `label` |
///
/// `attempts` is the number of failed attempts. `account`, `model`, `verdict` and `not_resent` are those
/// of the last one, and `upstream_request_id` is the last one received. `answer` is the code of a local
/// answer, and `of` the code of the events held back.
///
/// ```
/// use tower_failover::ErrorDedupLayer;
/// use tower_failover::report::TracingReporter;
///
/// let layer = ErrorDedupLayer::new(TracingReporter::new());
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingReporter;

impl TracingReporter {
    /// Creates the reporter.
    pub const fn new() -> Self {
        Self
    }
}

impl Reporter for TracingReporter {
    fn report(&self, event: &Event) {
        match event {
            Event::RequestFailed(record)
            | Event::RequestRecovered(record)
            | Event::RequestAbandoned(record) => request(event, record),
            Event::AccountOut(out) => account_out(event, out),
            Event::PoolDead(dead) => pool_dead(event, dead),
            Event::Token(token) => token_event(event, token),
            Event::Coalesced(held) => coalesced(event, held),
        }
    }
}

/// Emits an event at the level of a severity: `tracing` needs a call site for each level.
macro_rules! at_severity {
    ($severity:expr, $($fields:tt)+) => {
        match $severity {
            Severity::Debug => event!(target: "tower_failover", Level::DEBUG, $($fields)+),
            Severity::Warn => event!(target: "tower_failover", Level::WARN, $($fields)+),
            Severity::Error => event!(target: "tower_failover", Level::ERROR, $($fields)+),
        }
    };
}

fn request(event: &Event, record: &RequestRecord) {
    let last = record.trail.last();
    at_severity!(
        event.severity(),
        code = event.code(),
        method = record.method.as_str(),
        path = &*record.path,
        outcome = record.outcome.as_str(),
        status = number(record.outcome.status()),
        answer = answer(&record.outcome),
        error = error(&record.outcome),
        sent = record.sent,
        attempts = record.trail.len(),
        account = last.and_then(|attempt| attempt.account.as_deref()),
        model = last.and_then(|attempt| attempt.model.as_deref()),
        verdict = last.map(|attempt| attempt.verdict.as_str()),
        not_resent = last.and_then(not_resent),
        request_id = record.request_id.as_deref(),
        upstream_request_id = upstream_request_id(record),
        label = record.label.as_deref(),
        elapsed_ms = millis(record.elapsed),
        "{event}"
    );
}

fn account_out(event: &Event, out: &AccountOut) {
    at_severity!(
        event.severity(),
        code = event.code(),
        account = &*out.account.id,
        ordinal = out.account.ordinal,
        accounts = out.account.of,
        generation = out.generation,
        reason = out.reason.as_str(),
        status = number(out.status),
        out_for_ms = millis(out.out_for),
        expired_at = out.expired_at.and_then(unix),
        expired_seconds_ago = out.expired_ago.map(|ago| ago.as_secs()),
        error = out.error.as_deref(),
        "{event}"
    );
}

fn pool_dead(event: &Event, dead: &PoolDead) {
    let cause = &dead.cause;
    at_severity!(
        event.severity(),
        code = event.code(),
        account = &*cause.account.id,
        ordinal = cause.account.ordinal,
        accounts = dead.accounts,
        generation = cause.generation,
        reason = cause.reason.as_str(),
        status = number(cause.status),
        out_for_ms = millis(cause.out_for),
        expired_at = cause.expired_at.and_then(unix),
        expired_seconds_ago = cause.expired_ago.map(|ago| ago.as_secs()),
        error = cause.error.as_deref(),
        help = dead.help.as_deref(),
        "{event}"
    );
}

fn token_event(event: &Event, token: &TokenEvent) {
    let (mut expires_in, mut expires_at, mut late) = (None, None, None);
    let (mut reason, mut valid_for, mut next_call_in) = (None, None, None);
    match &token.kind {
        TokenEventKind::Expiring { expires_in: left, expires_at: at } => {
            (expires_in, expires_at) = (Some(millis(*left)), at.and_then(unix));
        }
        TokenEventKind::ClockSkew { late: by } => late = Some(millis(*by)),
        TokenEventKind::RefreshFailed {
            reason: why, valid_for: valid, next_call_in: next, ..
        } => {
            reason = why.map(|why| why.as_str());
            (valid_for, next_call_in) = (valid.map(millis), next.map(millis));
        }
    }
    at_severity!(
        event.severity(),
        code = event.code(),
        account = &*token.account.id,
        ordinal = token.account.ordinal,
        accounts = token.account.of,
        generation = token.generation,
        expires_in_ms = expires_in,
        expires_at,
        late_ms = late,
        reason,
        valid_for_ms = valid_for,
        next_call_in_ms = next_call_in,
        "{event}"
    );
}

fn coalesced(event: &Event, held: &Coalesced) {
    let record = held.last.record();
    let last = record.and_then(|record| record.trail.last());
    at_severity!(
        event.severity(),
        code = event.code(),
        of = held.last.code(),
        held_back = held.held_back,
        window_ms = millis(held.window),
        method = record.map(|record| record.method.as_str()),
        path = record.map(|record| &*record.path),
        outcome = record.map(|record| record.outcome.as_str()),
        status = record.and_then(|record| number(record.outcome.status())),
        account = last.and_then(|attempt| attempt.account.as_deref()),
        model = last.and_then(|attempt| attempt.model.as_deref()),
        verdict = last.map(|attempt| attempt.verdict.as_str()),
        label = record.and_then(|record| record.label.as_deref()),
        "{event}"
    );
}

fn number(status: Option<StatusCode>) -> Option<u16> {
    status.map(|status| status.as_u16())
}

fn answer(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Local(code) => Some(code.as_str()),
        _ => None,
    }
}

fn error(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Error(error) => Some(error),
        _ => None,
    }
}

fn not_resent(attempt: &Attempt) -> Option<&'static str> {
    match attempt.followed {
        Followed::NotResent(why) => Some(why.as_str()),
        _ => None,
    }
}

fn upstream_request_id(record: &RequestRecord) -> Option<&str> {
    let mut newest_first = record.trail.iter().rev();
    newest_first.find_map(|attempt| attempt.upstream_request_id.as_deref())
}

/// Returns the seconds since 1970.
fn unix(at: std::time::SystemTime) -> Option<u64> {
    at.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
