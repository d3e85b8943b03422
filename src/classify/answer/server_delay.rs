//! The delay that an answer asks for: `Retry-After` first, then other headers, then the body.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::error_body::ErrorBody;
use crate::classify::{Verdict, delay};

/// Returns the delay that the server asks for before the next request.
///
/// The first of these that parses wins:
///
/// 1. `Retry-After`: seconds (a fraction is allowed), then an HTTP-date
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
/// A date in the past is zero. A number that is negative, beyond `u64` or followed by other text is ignored.
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
    delay::requested(headers, now)
        .or_else(|| delay::window_end(headers, now))
        .or_else(|| ErrorBody::parse(body?).retry_delay)
}

/// Adds the server's delay to a verdict that can have one and has none yet.
pub(crate) fn with_delay(
    verdict: Verdict,
    headers: &HeaderMap,
    error: &ErrorBody,
    now: impl FnOnce() -> SystemTime,
) -> Verdict {
    let windows = match verdict {
        Verdict::Limited { delay: None } => true,
        // Some vendors send the end of a window with every answer: it is no delay for these verdicts.
        Verdict::OutOfQuota { delay: None }
        | Verdict::ModelFault { delay: None, .. }
        | Verdict::Transient { delay: None, .. } => false,
        _ => return verdict,
    };
    if headers.is_empty() {
        return verdict.with_delay(error.retry_delay);
    }
    let now = now();
    let requested = delay::requested(headers, now)
        .or_else(|| windows.then(|| delay::window_end(headers, now)).flatten())
        .or(error.retry_delay);
    verdict.with_delay(requested)
}

#[cfg(test)]
mod tests;
