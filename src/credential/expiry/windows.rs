//! How long before its end a token is replaced.

use std::time::Duration;

use super::expires::Validity;

/// How long before the end of a token the next one is asked for.
///
/// In the *advisory* window one request starts the refresh, and all go on with the old token. In
/// the *mandatory* window, requests that have no other account wait for the new one; if it does not
/// come, the old one is good until its end.
///
/// By default they depend on how long the token is good when it comes in:
///
/// | lifetime | advisory | mandatory |
/// | --- | --- | --- |
/// | up to 20 min | a quarter of it | a twentieth of it |
/// | up to 90 min | 5 min | 60 s |
/// | up to 12 h | 15 min | 60 s |
/// | more | 60 min | 60 s |
///
/// The advisory window opens a little later each time, by up to a tenth of it, so that accounts
/// whose tokens came together do not all ask together.
///
/// [`TokenSource`](crate::credential::TokenSource) has an example of an account with a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshWindows(Option<(Duration, Duration)>);

/// The shortest time between two tokens of one account that no refusal asked for.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// What to do with a token when, in time from when it came in; `None` is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefreshSchedule {
    /// The advisory window opens.
    pub(crate) advisory: Option<Duration>,
    /// The mandatory window opens.
    pub(crate) mandatory: Option<Duration>,
    /// It is not sent any more.
    pub(crate) expired: Option<Duration>,
}

impl RefreshWindows {
    /// The windows of the table above.
    pub const fn by_lifetime() -> Self {
        Self(None)
    }

    /// These windows, whatever the lifetime. The mandatory one is part of the advisory one.
    ///
    /// A token that comes in within its advisory window is replaced after half a second; one that
    /// comes in within its mandatory window as well, and nobody waits for that.
    pub const fn fixed(advisory: Duration, mandatory: Duration) -> Self {
        Self(Some((advisory, mandatory)))
    }

    /// The windows of a token with this lifetime: advisory, mandatory.
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

    /// What to do when with a token of such a validity. `random` is from 0 to 1; `again` is when its
    /// source wants to be asked in any case.
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
        // One that comes within its window is late already.
        let window = if advisory < left { advisory } else { Duration::ZERO };
        let jitter = window.saturating_sub(mandatory).min(window / 10);
        let jitter = jitter.mul_f64(random.clamp(0.0, 1.0));
        // Nobody waits for another because of one that comes within that window: so may the next.
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
    fn windows_go_by_the_lifetime() {
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
    fn a_token_that_comes_within_its_window_is_replaced_soon() {
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
    fn a_token_without_an_end_is_never_asked_for_again_unless_its_source_wants_that() {
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
        fn it_is_asked_for_before_it_is_waited_for_and_waited_for_before_it_is_dead(
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
                // Never later than halfway through the window, and never in the first half of validity.
                let (advisory, mandatory) = windows.for_lifetime(left);
                let window = left.saturating_sub(ask);
                prop_assert!(window >= mandatory && window <= advisory);
                prop_assert!(ask >= left / 2);
            }
        }
    }
}
