//! The header delays: `Retry-After`, its millisecond forms, then the windows of rate limits.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};

use super::{
    dates::{http_date, rfc3339, seconds_or_epoch, until},
    durations::{MILLISECOND, go_duration, seconds, whole},
};

/// Headers in milliseconds: two of Azure and OpenAI, and one of the AWS SDKs
/// ([retry behaviour](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)).
static IN_MILLISECONDS: [HeaderName; 3] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-amz-retry-after"),
];

/// Headers with a Go duration, one for each window ([OpenAI](https://platform.openai.com/docs/guides/rate-limits)).
static WINDOWS: [HeaderName; 2] = [
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
static RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Returns the delay that the server asks for directly: rules 1 and 2 of
/// [`server_delay`](crate::classify::server_delay).
pub(crate) fn requested(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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

/// Returns the time until the end of a rate-limit window: rules 3 to 5 of
/// [`server_delay`](crate::classify::server_delay).
///
/// Vendors send these headers with *every* answer, so they are a delay only for a limited verdict.
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
        // A window that has ended is full again, whatever its count says.
        if remaining.is_some_and(|n| n.as_bytes().trim_ascii() == b"0") && !wait.is_zero() {
            soonest_empty = Some(soonest_empty.map_or(wait, |other| other.min(wait)));
        }
    }
    soonest_empty.or(soonest)
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().map(|value| value.as_bytes().trim_ascii())
}
