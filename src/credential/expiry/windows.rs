//! The schedule of refreshes ahead of expiry: advisory and mandatory windows.

use std::time::Duration;

use super::expires::Validity;

/// The times before a token's expiry at which it is refreshed.
///
/// In the *advisory* window, one request starts the refresh, and all requests keep using the old
/// token. In the *mandatory* window, requests without another account wait for the new token. If it
/// does not come, the old one stays in use until it expires.
///
/// By default the windows depend on the token's lifetime when it arrives:
///
/// | lifetime | advisory | mandatory |
/// | --- | --- | --- |
/// | up to 20 min | a quarter of it | a twentieth of it |
/// | up to 90 min | 5 min | 60 s |
/// | up to 12 h | 15 min | 60 s |
/// | more | 60 min | 60 s |
///
/// The start of the advisory window is delayed by a random part of up to a tenth, so that accounts
/// whose tokens arrived together are not refreshed together.
///
/// [`Account::refresh_windows`](crate::Account::refresh_windows) sets them for an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshWindows(Option<(Duration, Duration)>);

/// The shortest time between two scheduled refreshes of one account.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The times of a token's refresh and expiry, counted from its arrival. `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefreshSchedule {
    /// The start of the advisory window.
    pub(crate) advisory: Option<Duration>,
    /// The start of the mandatory window.
    pub(crate) mandatory: Option<Duration>,
    /// The time from which the token is no longer sent.
    pub(crate) expired: Option<Duration>,
}

impl RefreshWindows {
    /// Builds the windows of the table above.
    pub const fn by_lifetime() -> Self {
        Self(None)
    }

    /// Builds windows that do not depend on the lifetime. The mandatory window is part of the advisory
    /// one.
    ///
    /// A token that arrives within its advisory window is refreshed after half a second. If it arrives
    /// within its mandatory window, no request waits for that refresh.
    pub const fn fixed(advisory: Duration, mandatory: Duration) -> Self {
        Self(Some((advisory, mandatory)))
    }

    /// Returns the advisory and mandatory windows of a token with this lifetime.
    fn for_lifetime(self, lifetime: Duration) -> (Duration, Duration) {
        const MINUTE: Duration = Duration::from_secs(60);
        if let Some((advisory, mandatory)) = self.0 {
            return (advisory.max(mandatory), mandatory);
        }
        if lifetime <= 20 * MINUTE {
            (lifetime / 4, lifetime / 20)
        } else if lifetime <= 90 * MINUTE {
            (5 * MINUTE, MINUTE)
        } else if lifetime <= 12 * 60 * MINUTE {
            (15 * MINUTE, MINUTE)
        } else {
            (60 * MINUTE, MINUTE)
        }
    }

    /// Returns the schedule of a token with this validity. `random` is from 0 to 1; `again` is the time
    /// after which its source must be called in any case.
    pub(crate) fn schedule(
        self,
        validity: &Validity,
        again: Option<Duration>,
        random: f64,
    ) -> RefreshSchedule {
        let Some(left) = validity.remaining else {
            return RefreshSchedule { advisory: again, mandatory: None, expired: None };
        };
        let (advisory, mandatory) = self.for_lifetime(left);
        // A token that arrives within its advisory window gets no jitter.
        let window = if advisory < left { advisory } else { Duration::ZERO };
        let jitter = window.saturating_sub(mandatory).min(window / 10);
        let jitter = jitter.mul_f64(random.clamp(0.0, 1.0));
        // If a token arrives within its mandatory window, so may the next one: no request waits.
        let wait = match left.saturating_sub(mandatory) {
            Duration::ZERO => left,
            wait => wait.max(MIN_INTERVAL).min(left),
        };
        let ask = left.saturating_sub(advisory).saturating_add(jitter).max(MIN_INTERVAL).min(wait);
        RefreshSchedule {
            advisory: Some(again.map_or(ask, |again| ask.min(again))),
            mandatory: Some(wait),
            expired: Some(left.saturating_add(validity.grace)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::expiry::expires::Expires;

    fn validity(left: Duration, grace: Duration) -> Validity {
        Validity { grace, ..Expires::In(left).validity(b"", std::time::UNIX_EPOCH) }
    }

    #[test]
    fn windows_depend_on_the_lifetime() {
        let minutes = |left: u64| {
            let (advisory, mandatory) =
                RefreshWindows::by_lifetime().for_lifetime(Duration::from_secs(left * 60));
            (advisory.as_secs(), mandatory.as_secs())
        };
        assert_eq!(minutes(10), (150, 30));
        assert_eq!(minutes(60), (300, 60));
        assert_eq!(minutes(6 * 60), (900, 60));
        assert_eq!(minutes(24 * 60), (3600, 60));
    }

    #[test]
    fn token_that_arrives_within_its_window_is_refreshed_soon() {
        let seconds = Duration::from_secs;
        for (mandatory, left, wait) in
            [(30_000, 60_000, 30_000), (59_900, 60_000, 500), (60_000, 60_000, 60_000)]
        {
            let [mandatory, left, wait] = [mandatory, left, wait].map(Duration::from_millis);
            let windows = RefreshWindows::fixed(seconds(120), mandatory);
            let schedule = windows.schedule(&validity(left, Duration::ZERO), None, 1.0);
            let expected = (Some(MIN_INTERVAL), Some(wait), Some(left));
            assert_eq!(
                (schedule.advisory, schedule.mandatory, schedule.expired),
                expected,
                "{mandatory:?}"
            );
        }
    }

    #[test]
    fn token_without_expiry_is_refreshed_only_if_its_source_asks() {
        let unknown = Expires::Never.validity(b"", std::time::UNIX_EPOCH);
        let windows = RefreshWindows::default();
        assert_eq!(windows.schedule(&unknown, None, 0.5), RefreshSchedule::default());
        let again = Some(Duration::from_secs(10));
        assert_eq!(
            windows.schedule(&unknown, again, 0.5),
            RefreshSchedule { advisory: again, ..RefreshSchedule::default() }
        );
    }

    proptest! {
        #[test]
        fn schedule_is_ordered_and_within_the_windows(
            left in 1_u64..10_000_000_000,
            fixed in prop::option::of((0_u64..10_000_000_000, 0_u64..10_000_000_000)),
            grace in 0_u64..60_000,
            again in prop::option::of(0_u64..10_000_000),
            random in 0.0_f64..=1.0,
        ) {
            let millis = Duration::from_millis;
            let windows = fixed.map_or(RefreshWindows::by_lifetime(), |(advisory, mandatory)| {
                RefreshWindows::fixed(millis(advisory), millis(mandatory))
            });
            let again = again.map(millis);
            let left = millis(left);
            let schedule = windows.schedule(&validity(left, millis(grace)), again, random);
            let (ask, wait) = (schedule.advisory.unwrap(), schedule.mandatory.unwrap());
            let dead = schedule.expired.unwrap();
            prop_assert!(ask <= wait && wait <= left && left <= dead, "{schedule:?}");
            prop_assert_eq!(dead, left + millis(grace));
            if fixed.is_none() && again.is_none() && left >= 40 * MIN_INTERVAL {
                // Never later than halfway through the window, nor in the first half of the lifetime.
                let (advisory, mandatory) = windows.for_lifetime(left);
                let window = left.saturating_sub(ask);
                prop_assert!(window >= mandatory && window <= advisory);
                prop_assert!(ask >= left / 2);
            }
        }
    }
}
