//! Parsers of durations.

use std::{str, time::Duration};

/// A second in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// A millisecond in nanoseconds.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Parses a protobuf duration in JSON: seconds followed by `s`, such as `34s` or `3.5s`.
pub(crate) fn protobuf_duration(text: &str) -> Option<Duration> {
    seconds(text.as_bytes().strip_suffix(b"s")?)
}

/// Parses a number of seconds, with or without a fraction.
pub(crate) fn seconds(text: &[u8]) -> Option<Duration> {
    whole(text, SECOND)
}

/// Parses a number, and nothing after it, in units of `unit` nanoseconds.
pub(crate) fn whole(text: &[u8], unit: u64) -> Option<Duration> {
    let (number, rest) = Number::take(text)?;
    rest.is_empty().then(|| number.times(unit)).flatten()
}

/// Parses the output of Go's `Duration.String`, such as `1h2m3.5s` or `12ms`.
pub(crate) fn go_duration(mut text: &[u8]) -> Option<Duration> {
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
            // The micro sign, and the Greek letter that Go accepts too.
            b"us" | b"\xC2\xB5s" | b"\xCE\xBCs" => 1_000,
            b"ns" => 1,
            _ => return None,
        };
        sum = Some(sum.unwrap_or_default().checked_add(number.times(nanos)?)?);
        text = rest;
    }
    sum
}

/// A decimal number without a sign: digits, optionally followed by a point and more digits.
pub(crate) struct Number {
    pub(crate) whole: u64,
    /// In billionths; digits after the ninth are dropped.
    fraction: u32,
}

impl Number {
    /// Splits `text` into the number at its start and the rest. None beyond `u64`.
    pub(crate) fn take(text: &[u8]) -> Option<(Self, &[u8])> {
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

    /// Returns this many units of `nanos` nanoseconds. None beyond `u64` seconds.
    pub(crate) fn times(&self, nanos: u64) -> Option<Duration> {
        // At most 2^64 times an hour in nanoseconds, which is far below 2^128.
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
