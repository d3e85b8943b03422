use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::server_delay;
use crate::classify::delay::{dates::rfc3339, durations::go_duration};

/// 2024-01-01T00:00:00Z.
const NOW: Duration = Duration::from_secs(1_704_067_200);

fn now() -> SystemTime {
    UNIX_EPOCH + NOW
}

fn delay_of(headers: &[(&str, &str)]) -> Option<Duration> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    server_delay(&map, None, now())
}

#[expect(clippy::unnecessary_wraps, reason = "what the tables below compare with")]
fn ms(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

#[test]
fn header_is_read_in_its_own_unit() {
    for (name, value, wanted) in [
        ("retry-after", "7", ms(7000)),
        ("retry-after", " 7 ", ms(7000)),
        ("retry-after", "0.1", ms(100)),
        ("retry-after", "18446744073709551615", Some(Duration::from_secs(u64::MAX))),
        ("retry-after", "18446744073709551616", None),
        ("retry-after", "7 s", None),
        ("retry-after", "+7", None),
        ("retry-after", "-7", None),
        ("retry-after", "1e3", None),
        ("retry-after", "7.", None),
        ("retry-after", ".7", None),
        ("retry-after", "7, 8", None),
        ("retry-after", "\u{0667}", None),
        ("retry-after", "Mon, 01 Jan 2024 00:00:20 GMT", ms(20_000)),
        ("retry-after", "Monday, 01-Jan-24 00:00:20 GMT", ms(20_000)),
        ("retry-after", "Mon Jan  1 00:00:20 2024", ms(20_000)),
        ("retry-after", "Mon, 01 Jan 2024 00:00:20 GMT+1", None),
        ("retry-after", "Sun, 31 Dec 2023 23:59:00 GMT", ms(0)),
        ("retry-after-ms", "250", ms(250)),
        ("retry-after-ms", "0.5", Some(Duration::from_micros(500))),
        ("x-ms-retry-after-ms", "250", ms(250)),
        ("x-amz-retry-after", "250", ms(250)),
        ("x-amz-retry-after", "250ms", None),
        // Under 30 days: from now. Above: since 1970, in seconds (GitHub) or milliseconds (OpenRouter).
        ("x-ratelimit-reset", "2591999", ms(2_591_999_000)),
        ("x-ratelimit-reset", "2592000", ms(0)),
        ("x-ratelimit-reset", "1704067207", ms(7000)),
        ("x-ratelimit-reset", "1704067207.5", ms(7500)),
        ("x-ratelimit-reset", "1704067207500", ms(7500)),
        // The first number read as milliseconds is in 1973, the last read as seconds in 5138.
        ("x-ratelimit-reset", "100000000000", ms(0)),
        ("x-ratelimit-reset", "99999999999", ms((99_999_999_999 - 1_704_067_200) * 1000)),
        ("x-ratelimit-reset", "33.5", ms(33_500)),
        (
            "x-ratelimit-reset",
            "18446744073709551615",
            ms((u64::MAX / 1000) * 1000 + 615 - 1_704_067_200_000),
        ),
        ("x-ratelimit-reset-tokens", "7.66s", ms(7660)),
        ("x-ratelimit-reset-tokens", "20", ms(20_000)),
        ("x-ratelimit-reset-requests", "1h0m0.5s", ms(3_600_500)),
        ("anthropic-ratelimit-tokens-reset", "2024-01-01T00:00:30Z", ms(30_000)),
        ("anthropic-ratelimit-tokens-reset", "2024-01-01T00:00:30ZxxZ", None),
        ("anthropic-ratelimit-tokens-reset", "soon", None),
    ] {
        assert_eq!(delay_of(&[(name, value)]), wanted, "{name}: {value}");
    }
}

#[test]
fn first_header_that_parses_wins() {
    let mut said = vec![
        ("anthropic-ratelimit-tokens-reset", "2024-01-01T00:00:06Z"),
        ("x-ratelimit-reset-tokens", "5s"),
        ("x-ratelimit-reset", "4"),
        ("x-amz-retry-after", "3000"),
        ("x-ms-retry-after-ms", "2500"),
        ("retry-after-ms", "2000"),
        ("retry-after", "1"),
    ];
    let mut delays = Vec::new();
    while !said.is_empty() {
        delays.push(delay_of(&said).unwrap().as_millis());
        said.pop();
    }
    assert_eq!(delays, [1000, 2000, 2500, 3000, 4000, 5000, 6000]);
    assert_eq!(delay_of(&[("retry-after", "soon"), ("retry-after", "9")]), ms(9000));
    assert_eq!(delay_of(&[("retry-after", "soon"), ("retry-after-ms", "9")]), ms(9));
}

#[test]
fn smaller_of_two_windows_counts() {
    let both = [("x-ratelimit-reset-requests", "6m0s"), ("x-ratelimit-reset-tokens", "12ms")];
    assert_eq!(delay_of(&both), ms(12));
}

#[test]
fn empty_window_counts_before_one_that_ends_sooner() {
    let windows = [
        ("anthropic-ratelimit-requests-reset", "2024-01-01T00:00:01Z"),
        ("anthropic-ratelimit-requests-remaining", "40"),
        ("anthropic-ratelimit-tokens-reset", "2024-01-01T00:00:30Z"),
        ("anthropic-ratelimit-tokens-remaining", "0"),
        ("anthropic-ratelimit-input-tokens-reset", "2024-01-01T00:00:20Z"),
        ("anthropic-ratelimit-input-tokens-remaining", "0"),
        // Ended already: its zero is old.
        ("anthropic-ratelimit-output-tokens-reset", "2023-12-31T00:00:20Z"),
        ("anthropic-ratelimit-output-tokens-remaining", "0"),
    ];
    assert_eq!(delay_of(&windows), ms(20_000));
    assert_eq!(delay_of(&windows[..2]), ms(1000));
    assert_eq!(delay_of(&windows[6..]), ms(0));
}

#[test]
fn body_is_read_last() {
    let body = br#"{"error":{"details":[{"reason":"X"},{"retryDelay":"3.5s"}]}}"#;
    let mut headers = HeaderMap::new();
    assert_eq!(server_delay(&headers, Some(body), now()), ms(3500));
    headers.insert("x-ratelimit-reset", HeaderValue::from_static("2"));
    assert_eq!(server_delay(&headers, Some(body), now()), ms(2000));
    for delay in ["3.5", "-3s", "3 s", "s", "3m"] {
        let body = format!(r#"{{"error":{{"details":[{{"retryDelay":"{delay}"}}]}}}}"#);
        assert_eq!(server_delay(&HeaderMap::new(), Some(body.as_bytes()), now()), None, "{delay}");
    }
}

#[test]
fn malformed_go_duration_is_none() {
    for text in ["s", "1", "1x", "1m 30s", "-1s", "1.s", "1sm", "1s ", "s1", "1m30"] {
        assert_eq!(go_duration(text.as_bytes()), None, "{text}");
    }
    assert_eq!(go_duration(b"18446744073709551615h"), None);
    assert_eq!(go_duration(b"18446744073709551615s1s"), None);
    assert_eq!(go_duration(b"1ms5ns"), Some(Duration::from_nanos(1_000_005)));
    assert_eq!(go_duration("5µs".as_bytes()), Some(Duration::from_micros(5)));
    assert_eq!(go_duration("5\u{3bc}s".as_bytes()), Some(Duration::from_micros(5)));
}

const HEADERS: [&str; 9] = [
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "x-amz-retry-after",
    "x-ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-tokens-remaining",
];

/// Bytes similar to the formats that are parsed.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[0-9]{1,25}(\\.[0-9]{0,12})?[a-z]{0,2}".prop_map(String::into_bytes),
        "([0-9]{1,20}(\\.[0-9]{1,3})?(h|m|s|ms|us|ns)){1,4}".prop_map(String::into_bytes),
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.Z+0-9:]{0,8}"
            .prop_map(String::into_bytes),
        "(Mon|Sunday), [0-9]{2}[ -](Jan|Feb)[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn server_delay_does_not_panic_on_any_header(
        values in proptest::collection::vec((0..HEADERS.len(), near_misses()), 0..6),
        body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        seconds in prop_oneof![Just(0_u64), 0..5_000_000_000_u64],
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &values {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HEADERS[*name], value);
            }
        }
        let _ = server_delay(&headers, body.as_deref(), UNIX_EPOCH + Duration::from_secs(seconds));
    }

    #[test]
    fn whole_and_fraction_are_read_back(secs in any::<u64>(), nanos in 0..1_000_000_000_u32) {
        let text = format!("{secs}.{nanos:09}");
        prop_assert_eq!(delay_of(&[("retry-after", &text)]), Some(Duration::new(secs, nanos)));
    }

    #[test]
    fn go_duration_is_the_sum_of_its_parts(
        h in 0..100_000_u64, m in 0..60_u64, s in 0..60_u64, millis in 0..1000_u64,
    ) {
        let naive = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + millis);
        prop_assert_eq!(go_duration(format!("{h}h{m}m{s}.{millis:03}s").as_bytes()), Some(naive));
        prop_assert_eq!(go_duration(format!("{h}h{m}m{s}s{millis}ms").as_bytes()), Some(naive));
    }

    #[test]
    fn time_stamp_is_read_back(secs in 0..253_402_300_799_u64) {
        let then = UNIX_EPOCH + Duration::from_secs(secs);
        let text = humantime::format_rfc3339_seconds(then).to_string();
        prop_assert_eq!(rfc3339(text.as_bytes()), Some(then));
        let wait = delay_of(&[("retry-after", &httpdate::fmt_http_date(then))]);
        prop_assert_eq!(wait, Some(Duration::from_secs(secs.saturating_sub(NOW.as_secs()))));
    }
}
