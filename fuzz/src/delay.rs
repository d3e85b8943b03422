//! The delay that a server asks for, read from arbitrary headers and bodies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arbitrary::{Arbitrary, Result, Unstructured};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tower_failover::{Classifier, classify::server_delay};

/// The headers with a delay, grouped by rank, highest rank first.
const RANKS: [&[&str]; 7] = [
    &["retry-after"],
    &["retry-after-ms"],
    &["x-ms-retry-after-ms"],
    &["x-amz-retry-after"],
    &["x-ratelimit-reset"],
    &["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"],
    &[
        "anthropic-ratelimit-requests-reset",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-tokens-remaining",
    ],
];
/// The number of ranks whose delay never grows as time passes. In the last rank, the next window
/// counts once an Anthropic window has ended.
const STEADY: usize = 6;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    seconds: u64,
    status: u16,
    lines: Vec<(u8, &'a [u8])>,
    body: Option<&'a [u8]>,
}

/// # Panics
///
/// If the result breaks a guarantee of `server_delay`.
pub fn run(bytes: &[u8]) {
    let _: Result<()> =
        Input::arbitrary_take_rest(Unstructured::new(bytes)).map(|input| look(&input));
}

fn look(input: &Input<'_>) {
    let names: Vec<_> = RANKS.concat();
    let mut headers = HeaderMap::new();
    for (name, value) in input.lines.iter().take(16) {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(names[usize::from(*name) % names.len()], value);
        }
    }
    let Some(now) = UNIX_EPOCH.checked_add(Duration::from_secs(input.seconds >> 20)) else {
        return;
    };
    let whole = server_delay(&headers, input.body, now);

    // Only the first rank with a delay counts.
    let mut alone = RANKS.iter().map(|names| server_delay(&only(&headers, names), None, now));
    let first = alone.find_map(|delay| delay);
    let body = || server_delay(&HeaderMap::new(), input.body, now);
    assert_eq!(whole, first.or_else(body), "{headers:?}");

    if headers.len() == 1 {
        let value = headers.values().next().unwrap().as_bytes().trim_ascii();
        let name = headers.keys().next().unwrap().as_str();
        let unit = match name {
            "retry-after" => Some(1_000_000_000),
            "retry-after-ms" | "x-ms-retry-after-ms" | "x-amz-retry-after" => Some(1_000_000),
            _ => None,
        };
        if let (Some(unit), true) = (unit, input.body.is_none()) {
            if let Some(wanted) = number(value, unit) {
                assert_eq!(whole, wanted, "{name}: {value:?}");
            }
        }
    }

    // Time that passes shortens a wait by itself at most, and never makes it longer.
    if RANKS[STEADY..].concat().iter().all(|name| !headers.contains_key(*name)) {
        let later = server_delay(&headers, input.body, now + Duration::from_secs(1));
        let windows = RANKS[4..].concat().iter().any(|name| headers.contains_key(*name));
        match (whole, later) {
            (Some(whole), Some(later)) if !windows => {
                assert!(later <= whole && whole - later <= Duration::from_secs(1), "{headers:?}");
            }
            (whole, later) => assert_eq!(whole.is_some(), later.is_some(), "{headers:?}"),
        }
    }
    classified(input, headers, now);
}

/// A verdict holds the delay or none, and a 401 stays what it is.
fn classified(input: &Input<'_>, headers: HeaderMap, now: SystemTime) {
    let Ok(status) = StatusCode::from_u16(input.status) else { return };
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    let (head, ()) = answer.into_parts();
    let verdict = Classifier::default().classify(&head, input.body, now);
    assert!(status != StatusCode::UNAUTHORIZED || verdict.is_unauthorized(), "{verdict:?}");
}

fn only(headers: &HeaderMap, names: &[&str]) -> HeaderMap {
    let lines = headers.iter().filter(|(name, _)| names.contains(&name.as_str()));
    lines.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Reads a plain number; `None` if the text has another form.
#[expect(clippy::option_option, reason = "no number, and one that is too large")]
fn number(text: &[u8], unit: u128) -> Option<Option<Duration>> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let Ok(whole) = whole.parse::<u64>() else { return Some(None) };
    let fraction = format!("{fraction:0<9}")[..9].parse::<u128>().ok()?;
    let nanos = u128::from(whole) * unit + fraction * unit / 1_000_000_000;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?)))
}
