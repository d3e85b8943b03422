//! Parsers of dates, read as the time until then.

use std::{
    str,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::durations::{MILLISECOND, Number, SECOND};

/// Numbers below this are seconds from now, others a time since 1970.
const EPOCH_FROM: u64 = 30 * 24 * 60 * 60;

/// Numbers from this on are milliseconds since 1970: as seconds they would be after the year 5000
/// ([OpenRouter](https://openrouter.ai/docs/api-reference/limits) sends these).
const EPOCH_MILLIS_FROM: u64 = 100_000_000_000;

/// Parses a number of seconds from now, or of seconds or milliseconds since 1970.
pub(crate) fn seconds_or_epoch(text: &[u8], now: SystemTime) -> Option<Duration> {
    let (number, rest) = Number::take(text)?;
    if !rest.is_empty() {
        return None;
    }
    let unit = if number.whole < EPOCH_MILLIS_FROM { SECOND } else { MILLISECOND };
    let span = number.times(unit)?;
    if number.whole < EPOCH_FROM {
        return Some(span);
    }
    Some(until(UNIX_EPOCH.checked_add(span)?, now))
}

/// Parses an HTTP-date (RFC 9110 §5.6.7) and returns the time until then.
pub(crate) fn http_date(text: &[u8], now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    Some(until(date, now))
}

/// Parses an RFC 3339 time stamp.
pub(crate) fn rfc3339(text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    // The parser ignores everything between the first and the last `Z`.
    if text.find('Z').is_some_and(|at| at + 1 != text.len()) {
        return None;
    }
    humantime::parse_rfc3339(text).ok()
}

/// Returns the time from `now` until `date`; zero for a date in the past.
pub(crate) fn until(date: SystemTime, now: SystemTime) -> Duration {
    date.duration_since(now).unwrap_or(Duration::ZERO)
}
