//! What is known of the end of a token, and what that makes of its validity.

use std::time::{Duration, SystemTime};

use super::{daily::DailyTime, jwt::jwt_expiry};

/// When a token ends, as far as anybody knows.
///
/// What a clock far away has set ([`At`](Self::At), [`Daily`](Self::Daily), a JWT) is held against
/// the wall clock here once, when the token comes in, and 60 s of difference between the two are
/// tolerated. A lifetime ([`In`](Self::In)) is measured here, and exact.
///
/// [`Account::expires`](crate::Account::expires) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expires {
    /// Nobody said; if it is a JWT, it [says so itself](crate::credential::jwt_expiry). The default.
    #[default]
    Unknown,
    /// Whatever it says itself, it is good until it is refused.
    Never,
    /// It is good for so long from when it came in (`expires_in`, RFC 6749 §5.1). Zero is unknown.
    In(Duration),
    /// It ends at this time.
    At(SystemTime),
    /// It ends at the next such time.
    Daily(DailyTime),
}

/// How far the clocks of others may be off.
pub(crate) const SKEW: Duration = Duration::from_secs(60);

/// What is left of a token as it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// How long it is good by what is known; `None` if nothing is.
    pub(crate) remaining: Option<Duration>,
    /// How much longer it may still be sent: the clock that set its end may be behind.
    pub(crate) grace: Duration,
    /// Its end, as a clock on the wall shows it.
    pub(crate) expires_at: Option<SystemTime>,
    /// It had ended before it came in, by so much: one of the clocks is wrong. It is sent all the
    /// same, until it is refused.
    pub(crate) expired_by: Option<Duration>,
}

impl Validity {
    /// Nothing is known.
    const UNKNOWN: Self =
        Self { remaining: None, grace: Duration::ZERO, expires_at: None, expired_by: None };
}

impl Expires {
    /// This, or `other` where this says nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Unknown { other } else { self }
    }

    /// The life of `token`, which comes in at `now`.
    pub(crate) fn validity(self, token: &[u8], now: SystemTime) -> Validity {
        let ends = match self {
            Self::Never => None,
            Self::In(left) if left.is_zero() => None,
            Self::In(left) => {
                let expires_at = now.checked_add(left);
                return Validity { remaining: Some(left), expires_at, ..Validity::UNKNOWN };
            }
            Self::At(ends) => Some(ends),
            Self::Daily(time) => Some(time.next_after(now)),
            Self::Unknown => jwt_expiry(token),
        };
        let Some(ends) = ends else { return Validity::UNKNOWN };
        match ends.duration_since(now) {
            // RFC 7519 §4.1.4: on or after its end it must not be accepted.
            Ok(left) if !left.is_zero() => Validity {
                remaining: Some(left),
                grace: SKEW,
                expires_at: Some(ends),
                expired_by: None,
            },
            other => {
                let late = other.err().map_or(Duration::ZERO, |early| early.duration());
                Validity { expired_by: Some(late), ..Validity::UNKNOWN }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lifetime_is_exact_and_a_date_is_not() {
        let validity = Expires::In(seconds(5)).validity(b"", NOW);
        assert_eq!((validity.remaining, validity.grace), (Some(seconds(5)), Duration::ZERO));
        let validity = Expires::At(NOW + seconds(5)).validity(b"", NOW);
        assert_eq!((validity.remaining, validity.grace), (Some(seconds(5)), SKEW));
        assert_eq!(validity.expires_at, Some(NOW + seconds(5)));
    }

    #[test]
    fn what_had_ended_before_it_came_is_late_and_not_dead() {
        let now = NOW + seconds(100);
        for (ends, late) in [(100, 0), (40, 60)] {
            let validity = Expires::At(NOW + seconds(ends)).validity(b"", now);
            assert_eq!(validity, Validity { expired_by: Some(seconds(late)), ..Validity::UNKNOWN });
        }
    }

    #[test]
    fn what_was_said_comes_before_what_the_token_says() {
        // {"alg":"none"} . {"iss":"joe","exp":1300819380}
        let jwt = b"eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.";
        let said = |expires: Expires| expires.validity(jwt, NOW).remaining;
        assert_eq!(said(Expires::Unknown), Some(seconds(1_300_819_380)));
        assert_eq!(said(Expires::In(seconds(9))), Some(seconds(9)));
        assert_eq!(said(Expires::Never), None);
        assert_eq!(said(Expires::In(Duration::ZERO)), None);
        let daily = Expires::Daily(DailyTime::new(3, 30, 330).unwrap());
        assert_eq!(said(daily), Some(seconds(22 * 60 * 60)));
        assert_eq!(Expires::Unknown.or(daily), daily);
        assert_eq!(Expires::Never.or(daily), Expires::Never);
    }

    proptest! {
        #[test]
        fn nothing_is_both_alive_and_late(ends in any::<u32>(), now in any::<u32>()) {
            let now = UNIX_EPOCH + seconds(now.into());
            let validity = Expires::At(UNIX_EPOCH + seconds(ends.into())).validity(b"", now);
            prop_assert_ne!(validity.remaining.is_some(), validity.expired_by.is_some());
            prop_assert!(validity.remaining.is_none_or(|left| Some(now + left) == validity.expires_at));
        }
    }
}
