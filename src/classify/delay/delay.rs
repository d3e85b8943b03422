//! How long a server wants to be left alone: every way in which it says so.

use std::{
    str,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};

use crate::classify::answer::ErrorBody;

/// Milliseconds: Azure's and OpenAI's two, and the one of the AWS SDKs
/// ([retry behaviour](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)).
static IN_MILLISECONDS: [HeaderName; 3] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-amz-retry-after"),
];

/// Go durations, one for each window ([OpenAI](https://platform.openai.com/docs/guides/rate-limits)).
static WINDOWS: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Below this, `x-ratelimit-reset` counts from now; above, from 1970.
const EPOCH_FROM: u64 = 30 * 24 * 60 * 60;

/// From this on, it counts milliseconds since 1970: as seconds it would lie beyond the year 5000
/// ([OpenRouter](https://openrouter.ai/docs/api-reference/limits) sends these).
const EPOCH_MILLIS_FROM: u64 = 100_000_000_000;

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// How long the server wants to be left alone, when it says so in a way that is known.
///
/// The first of these that parses wins:
///
/// 1. `Retry-After`: seconds (a fraction is taken), then an HTTP-date
///    ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3));
/// 2. `retry-after-ms`, `x-ms-retry-after-ms`, `x-amz-retry-after`: milliseconds;
/// 3. `x-ratelimit-reset`: seconds from now below 30 days, else seconds (or milliseconds) since 1970;
/// 4. the smaller of `x-ratelimit-reset-requests` and `x-ratelimit-reset-tokens`: a Go duration such as
///    `6m0s`, or seconds;
/// 5. `anthropic-ratelimit-*-reset` (RFC 3339): the soonest of the windows whose `-remaining` is 0, else the
///    soonest of all ([rate limits](https://docs.anthropic.com/en/api/rate-limits));
/// 6. in a JSON body, `error.details[].retryDelay`
///    ([google.rpc.RetryInfo](https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto)).
///
/// A date in the past is zero. A number that is negative, beyond `u64` or has rubbish behind it is no hint.
/// The result is not clamped.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let mut headers = http::HeaderMap::new();
/// headers.insert("x-ratelimit-reset-tokens", "6m0s".parse()?);
/// let delay = tower_failover::classify::server_delay(&headers, None, SystemTime::UNIX_EPOCH);
/// assert_eq!(delay, Some(Duration::from_secs(360)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn server_delay(headers: &HeaderMap, body: Option<&[u8]>, now: SystemTime) -> Option<Duration> {
    asked_for(headers, now)
        .or_else(|| window_end(headers, now))
        .or_else(|| ErrorBody::parse(body?).retry_delay)
}

/// The wait that the server asks for in so many words (rules 1 and 2).
pub(crate) fn asked_for(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if headers.is_empty() {
        return None;
    }
    values(headers, &RETRY_AFTER)
        .find_map(|value| seconds(value).or_else(|| http_date(value, now)))
        .or_else(|| {
            IN_MILLISECONDS
                .iter()
                .find_map(|name| values(headers, name).find_map(|v| whole(v, MILLISECOND)))
        })
}

/// The end of a rate-limit window (rules 3 to 5).
///
/// Vendors send these with *every* answer, so they mean a wait only beside a verdict of "limited".
pub(crate) fn window_end(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if headers.is_empty() {
        return None;
    }
    values(headers, &RESET)
        .find_map(|value| seconds_or_epoch(value, now))
        .or_else(|| {
            let ends = WINDOWS.iter().flat_map(|name| values(headers, name));
            ends.filter_map(|value| go_duration(value).or_else(|| seconds(value))).min()
        })
        .or_else(|| anthropic_window(headers, now))
}

fn anthropic_window(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let mut soonest: Option<Duration> = None;
    let mut soonest_empty: Option<Duration> = None;
    for (name, value) in headers {
        let Some(window) = name
            .as_str()
            .strip_prefix("anthropic-ratelimit-")
            .and_then(|n| n.strip_suffix("-reset"))
        else {
            continue;
        };
        let Some(end) = rfc3339(value.as_bytes()) else {
            continue;
        };
        let wait = until(end, now);
        soonest = Some(soonest.map_or(wait, |other| other.min(wait)));
        let remaining = headers.get(format!("anthropic-ratelimit-{window}-remaining"));
        // A window that ended is full again, whatever its count said.
        if remaining.is_some_and(|n| n.as_bytes().trim_ascii() == b"0") && !wait.is_zero() {
            soonest_empty = Some(soonest_empty.map_or(wait, |other| other.min(wait)));
        }
    }
    soonest_empty.or(soonest)
}

/// A protobuf duration in JSON: seconds with an `s` behind them, `34s` or `3.5s`.
pub(crate) fn protobuf_duration(text: &str) -> Option<Duration> {
    seconds(text.as_bytes().strip_suffix(b"s")?)
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().map(|value| value.as_bytes().trim_ascii())
}

fn seconds(text: &[u8]) -> Option<Duration> {
    whole(text, SECOND)
}

/// A number and nothing else, in units of `unit` nanoseconds.
fn whole(text: &[u8], unit: u64) -> Option<Duration> {
    let (number, rest) = Number::take(text)?;
    rest.is_empty().then(|| number.times(unit)).flatten()
}

fn seconds_or_epoch(text: &[u8], now: SystemTime) -> Option<Duration> {
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

fn http_date(text: &[u8], now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(str::from_utf8(text).ok()?).ok()?;
    Some(until(date, now))
}

fn rfc3339(text: &[u8]) -> Option<SystemTime> {
    let text = str::from_utf8(text.trim_ascii()).ok()?;
    // The parser takes what stands between a `Z` and the last `Z`.
    if text.find('Z').is_some_and(|at| at + 1 != text.len()) {
        return None;
    }
    humantime::parse_rfc3339(text).ok()
}

fn until(date: SystemTime, now: SystemTime) -> Duration {
    date.duration_since(now).unwrap_or(Duration::ZERO)
}

/// What Go's `Duration.String` writes: `1h2m3.5s`, `12ms`.
fn go_duration(mut text: &[u8]) -> Option<Duration> {
    let mut sum: Option<Duration> = None;
    while !text.is_empty() {
        let (number, rest) = Number::take(text)?;
        let end = rest.iter().position(u8::is_ascii_digit).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(end);
        let nanos = match unit {
            b"h" => 3600 * SECOND,
            b"m" => 60 * SECOND,
            b"s" => SECOND,
            b"ms" => MILLISECOND,
            // The micro sign, and the Greek letter that Go takes as well.
            b"us" | b"\xC2\xB5s" | b"\xCE\xBCs" => 1_000,
            b"ns" => 1,
            _ => return None,
        };
        sum = Some(sum.unwrap_or_default().checked_add(number.times(nanos)?)?);
        text = rest;
    }
    sum
}

/// A decimal number without a sign: digits, and perhaps a point and more digits.
struct Number {
    whole: u64,
    /// In billionths; digits after the ninth are dropped.
    fraction: u32,
}

impl Number {
    /// The number at the start of `text`, and what follows it. None beyond `u64`.
    fn take(text: &[u8]) -> Option<(Self, &[u8])> {
        let (digits, mut rest) = split_digits(text);
        let whole = str::from_utf8(digits).ok()?.parse().ok()?;
        let mut fraction = 0;
        if let Some(after) = rest.strip_prefix(b".") {
            let (digits, end) = split_digits(after);
            if digits.is_empty() {
                return None;
            }
            let billionths = digits.iter().chain([b'0'; 9].iter()).take(9);
            fraction = billionths.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            rest = end;
        }
        Some((Self { whole, fraction }, rest))
    }

    fn times(&self, nanos: u64) -> Option<Duration> {
        // At most 2^64 times an hour in nanoseconds: far within 2^128.
        let total = u128::from(self.whole) * u128::from(nanos)
            + u128::from(self.fraction) * u128::from(nanos) / u128::from(SECOND);
        let secs = u64::try_from(total / u128::from(SECOND)).ok()?;
        let rest = u32::try_from(total % u128::from(SECOND)).ok()?;
        Some(Duration::new(secs, rest))
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests;
