//! The expiry of a token, as far as it is known, and the 60 s by which another clock may be off.

use std::time::{Duration, SystemTime};

use super::{daily::DailyTime, jwt::jwt_expiry};

/// The expiry of a token, as far as it is known.
///
/// A time that another clock has set ([`At`](Self::At), [`Daily`](Self::Daily), a JWT) is compared
/// with the local wall clock once, when the token arrives, and may be off by 60 s. A lifetime
/// ([`In`](Self::In)) is measured locally and is exact.
///
/// [`Account::expires`](crate::Account::expires) sets it for an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expires {
    /// The default: unknown, unless the token is a JWT with an [expiry](crate::credential::jwt_expiry).
    #[default]
    Unknown,
    /// The token is valid until it is rejected, whatever it says itself.
    Never,
    /// The token is valid for this long after it arrived (`expires_in`, RFC 6749 §5.1). Zero is unknown.
    In(Duration),
    /// The token expires at this time.
    At(SystemTime),
    /// The token expires at the next such time.
    Daily(DailyTime),
}

/// The tolerated difference to other clocks.
pub(crate) const SKEW: Duration = Duration::from_secs(60);

/// The validity of a token when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The remaining lifetime, if it is known.
    pub(crate) remaining: Option<Duration>,
    /// The extra time for which it may be sent, because the clock that set its expiry may be slow.
    pub(crate) grace: Duration,
    /// The wall clock time of its expiry.
    pub(crate) expires_at: Option<SystemTime>,
    /// The time by which it had expired before it arrived. Then one of the clocks is wrong, and the
    /// token is sent until it is rejected.
    pub(crate) expired_by: Option<Duration>,
}

impl Validity {
    /// The validity of a token of which nothing is known.
    const UNKNOWN: Self =
        Self { remaining: None, grace: Duration::ZERO, expires_at: None, expired_by: None };
}

impl Expires {
    /// Returns this expiry, or `other` if this is unknown.
    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Unknown { other } else { self }
    }

    /// Returns the validity of `token`, which arrives at `now`.
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
            // RFC 7519 §4.1.4: a token must not be accepted on or after its expiry.
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
    fn lifetime_is_exact_and_a_date_has_grace() {
        let validity = Expires::In(seconds(5)).validity(b"", NOW);
        assert_eq!((validity.remaining, validity.grace), (Some(seconds(5)), Duration::ZERO));
        let validity = Expires::At(NOW + seconds(5)).validity(b"", NOW);
        assert_eq!((validity.remaining, validity.grace), (Some(seconds(5)), SKEW));
        assert_eq!(validity.expires_at, Some(NOW + seconds(5)));
    }

    #[test]
    fn token_that_arrives_expired_is_still_sent() {
        let now = NOW + seconds(100);
        for (ends, late) in [(100, 0), (40, 60)] {
            let validity = Expires::At(NOW + seconds(ends)).validity(b"", now);
            assert_eq!(validity, Validity { expired_by: Some(seconds(late)), ..Validity::UNKNOWN });
        }
    }

    #[test]
    fn explicit_expiry_wins_over_that_of_the_token() {
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
        fn token_is_either_valid_or_expired(ends in any::<u32>(), now in any::<u32>()) {
            let now = UNIX_EPOCH + seconds(now.into());
            let validity = Expires::At(UNIX_EPOCH + seconds(ends.into())).validity(b"", now);
            prop_assert_ne!(validity.remaining.is_some(), validity.expired_by.is_some());
            prop_assert!(validity.remaining.is_none_or(|left| Some(now + left) == validity.expires_at));
        }
    }
}
