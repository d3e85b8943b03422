//! A time of the day at which all tokens of a service expire.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DAY: u64 = 24 * 60 * 60;

/// A time of the day in a fixed offset from UTC, at which all tokens of a service expire.
///
/// Some services expire all tokens at one time, whenever they were issued
/// ([Upstox](https://upstox.com/developer/api-documentation/authentication): 03:30 in India); a
/// lifetime cannot express that.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_failover::credential::DailyTime;
///
/// let end: DailyTime = "03:30+05:30".parse()?;
/// let midnight = UNIX_EPOCH + Duration::from_secs(1_704_067_200); // 2024-01-01T00:00Z, 05:30 in India
/// assert_eq!(end.next_after(midnight), midnight + Duration::from_secs(22 * 60 * 60));
/// # Ok::<(), tower_failover::credential::DailyTimeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DailyTime {
    /// Seconds after midnight, UTC; less than a day.
    utc: u32,
    /// Minutes east of UTC.
    offset: i16,
}

/// The error of a text or number that is not a [`DailyTime`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the time of the day and its offset from UTC as in `03:30+05:30`")]
#[non_exhaustive]
pub struct DailyTimeError;

impl DailyTime {
    /// Builds the time `hour`:`minute` on clocks that are `offset` minutes ahead of UTC.
    ///
    /// # Errors
    ///
    /// The hour or minute is out of range, or the offset is a day or more.
    pub const fn new(hour: u8, minute: u8, offset: i16) -> Result<Self, DailyTimeError> {
        const MINUTES: i32 = 24 * 60;
        if hour > 23 || minute > 59 || offset as i32 <= -MINUTES || offset as i32 >= MINUTES {
            return Err(DailyTimeError);
        }
        let local = hour as i32 * 60 + minute as i32;
        // Not negative, and below a day in seconds.
        #[allow(clippy::cast_sign_loss)]
        let utc = (local - offset as i32).rem_euclid(MINUTES) as u32 * 60;
        Ok(Self { utc, offset })
    }

    /// Returns the first such moment after `now`.
    pub fn next_after(&self, now: SystemTime) -> SystemTime {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let today = since.as_secs() / DAY * DAY + u64::from(self.utc);
        let next = if Duration::from_secs(today) > since { today } else { today + DAY };
        // Past the largest time there is no next day.
        UNIX_EPOCH.checked_add(Duration::from_secs(next)).unwrap_or(now)
    }
}

impl FromStr for DailyTime {
    type Err = DailyTimeError;

    fn from_str(text: &str) -> Result<Self, DailyTimeError> {
        let number = |text: &str| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u8>().ok()).flatten().ok_or(DailyTimeError)
        };
        let clock = |text: &str| {
            let (hour, minute) = text.split_once(':').ok_or(DailyTimeError)?;
            Ok((number(hour)?, number(minute)?))
        };
        let Some(at) = text.find(['+', '-', 'Z']) else { return Err(DailyTimeError) };
        let (hour, minute) = clock(&text[..at])?;
        let offset = match &text[at..] {
            "Z" => 0,
            rest => {
                let (hours, minutes) = clock(rest.get(1..).ok_or(DailyTimeError)?)?;
                if hours > 23 || minutes > 59 {
                    return Err(DailyTimeError);
                }
                let offset = i16::from(hours) * 60 + i16::from(minutes);
                if rest.starts_with('-') { -offset } else { offset }
            }
        };
        Self::new(hour, minute, offset)
    }
}

impl fmt::Display for DailyTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = (i64::from(self.utc / 60) + i64::from(self.offset)).rem_euclid(24 * 60);
        let (sign, offset) = if self.offset < 0 { ('-', -self.offset) } else { ('+', self.offset) };
        let (hour, minute) = (local / 60, local % 60);
        write!(f, "{hour:02}:{minute:02}{sign}{:02}:{:02}", offset / 60, offset % 60)
    }
}

impl fmt::Debug for DailyTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DailyTime({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn upstox_token_expires_at_the_next_half_past_three() {
        let end: DailyTime = "03:30+05:30".parse().unwrap();
        assert_eq!(end, DailyTime::new(3, 30, 330).unwrap());
        // Issued at 15:30 in India; at 02:00, 90 minutes before; and at the moment itself.
        assert_eq!(end.next_after(at("2024-01-01T10:00:00Z")), at("2024-01-01T22:00:00Z"));
        assert_eq!(end.next_after(at("2024-01-01T20:30:00Z")), at("2024-01-01T22:00:00Z"));
        assert_eq!(end.next_after(at("2024-01-01T22:00:00Z")), at("2024-01-02T22:00:00Z"));
        assert_eq!(end.to_string(), "03:30+05:30");
    }

    #[test]
    fn bad_time_is_an_error() {
        let bad = [
            "",
            "03:30",
            "3:30+05:30",
            "24:00Z",
            "03:60Z",
            "03:30+5:30",
            "03:30+24:00",
            "+03:30",
            "03:30+",
            "aa:bbZ",
            "03:30+05:60",
            "03:30Zulu",
            "é3:30Z",
        ];
        for bad in bad {
            assert_eq!(bad.parse::<DailyTime>(), Err(DailyTimeError), "{bad}");
        }
    }

    proptest! {
        /// Compares with a search of each minute.
        #[test]
        fn next_after_is_the_first_minute_with_that_local_time(
            hour in 0_u8..24,
            minute in 0_u8..60,
            offset in -1439_i16..1440,
            now in 0_u64..200 * DAY,
        ) {
            let end = DailyTime::new(hour, minute, offset).unwrap();
            prop_assert_eq!(end.to_string().parse::<DailyTime>(), Ok(end));
            let next = end.next_after(UNIX_EPOCH + Duration::from_secs(now));
            let next = next.duration_since(UNIX_EPOCH).unwrap().as_secs();
            let first = (now / 60 + 1..=now / 60 + 1440)
                .find(|utc| {
                    let local = (i64::try_from(*utc).unwrap() + i64::from(offset)).rem_euclid(1440);
                    local == i64::from(hour) * 60 + i64::from(minute)
                })
                .unwrap();
            prop_assert_eq!(next, first * 60);
        }
    }
}
