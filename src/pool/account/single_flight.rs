//! One call to the source of an account at a time. Pure: times are arguments, in the pool's own.

use std::time::Duration;

use super::cooldown::millis;
use crate::{classify::Reason, clock::Doubling};

/// The calls to the source of one account.
///
/// Each [`Begin::Started`] must be followed by [`end`](Self::end), whatever happens.
///
/// | state | [`begin`](Self::begin) | [`end`](Self::end) |
/// | --- | --- | --- |
/// | `Idle` | `Calling` | |
/// | `Calling` | unchanged: the caller waits for the same answer | `Idle`, `Late`, `Backoff`, `Unchanged` or `Terminal` |
/// | `Late` | unchanged: no second call before the first has ended | as for `Calling` |
/// | `Backoff`, `Unchanged` | `Calling` when the time is up | |
/// | `Terminal` | unchanged | |
///
/// [`forget`](Self::forget) leads from `Backoff` and `Terminal` to `Idle`, and ends every other wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// The source may be called.
    #[default]
    Idle,
    /// The source is being called, after so many failures, or answers without a new token, in a row.
    Calling { failures: u32, sames: u32 },
    /// The call has missed its deadline and may still be answered: no request waits for it.
    Late { until: u64, failures: u32 },
    /// The last calls failed: the source is not called before `until`.
    Backoff { until: u64, failures: u32 },
    /// The last calls gave the token that is in use, which is no failure.
    Unchanged { until: u64, sames: u32 },
    /// The source gives no token until an operator acts.
    Terminal(Reason),
}

/// The answer to a request for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The caller of [`begin`](Refresh::begin) starts the call.
    Started,
    /// A call is in progress, and its answer is for all.
    UnderWay,
    /// No call before this time: the last one failed, or is late and may still be answered.
    Later(u64),
    /// No call until an operator acts.
    Over(Reason),
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another credential.
    Renewed,
    /// No credential; the source asks for a pause of this length.
    Failed(Option<Duration>),
    /// No answer before the deadline. The call goes on, and ends once more.
    Late,
    /// The credential that is in use, and when to call again.
    Same(Option<Duration>),
    /// No credential until an operator acts.
    Over(Reason),
    /// The account was given another credential meanwhile: the answer counts no more.
    Overtaken,
}

const FIRST: u64 = 500;
/// How long a failure is remembered.
const FAILURE: Doubling = Doubling::new(Duration::from_millis(FIRST), Duration::from_secs(60));
/// The longest pause that a source may ask for: it may be wrong.
const AT_MOST: Duration = Duration::from_secs(10 * 60);

/// Returns how long a failure is remembered after `failures` earlier ones in a row. The random part
/// spreads the calls of sources that failed together.
fn memory(failures: u32, random: f64) -> Duration {
    FAILURE.after(failures).mul_f64(1.0 + random / 5.0)
}

impl Refresh {
    /// Starts a call, if one may start at `now`.
    pub(crate) fn begin(&mut self, now: u64) -> Begin {
        let (failures, sames) = match *self {
            Self::Idle => (0, 0),
            Self::Calling { .. } => return Begin::UnderWay,
            Self::Late { until, failures } => {
                let mut until = until;
                if now >= until {
                    until = now.saturating_add(millis(memory(failures, 0.0)));
                    *self = Self::Late { until, failures: failures.saturating_add(1) };
                }
                return Begin::Later(until);
            }
            Self::Backoff { until, .. } | Self::Unchanged { until, .. } if now < until => {
                return Begin::Later(until);
            }
            Self::Backoff { failures, .. } => (failures, 0),
            Self::Unchanged { sames, .. } => (0, sames),
            Self::Terminal(reason) => return Begin::Over(reason),
        };
        *self = Self::Calling { failures, sames };
        Begin::Started
    }

    /// [Begins](Self::begin) because of a rejection, without a wait if the last answer was no failure.
    pub(crate) fn begin_after_rejection(&mut self, now: u64) -> Begin {
        if let Self::Unchanged { until, .. } = self {
            *until = 0;
        }
        self.begin(now)
    }

    /// Notes the result of a call. Returns when the source may be called again, and whether this is
    /// the first failure in a row. `random` is from 0 to 1.
    pub(crate) fn end(&mut self, end: End, now: u64, random: f64) -> (u64, bool) {
        let (failures, sames) = match *self {
            Self::Calling { failures, sames } => (failures, sames),
            Self::Late { failures, .. } => (failures, 0),
            _ => {
                debug_assert!(false, "a call that ends has begun");
                (0, 0)
            }
        };
        let after = |pause: Duration| now.saturating_add(millis(pause));
        match end {
            End::Renewed | End::Overtaken => {
                *self = Self::Idle;
                (0, false)
            }
            End::Failed(pause) => {
                let pause = pause.unwrap_or_default().min(AT_MOST);
                let until = after(memory(failures, random).max(pause));
                *self = Self::Backoff { until, failures: failures.saturating_add(1) };
                (until, failures == 0)
            }
            End::Late => {
                let until = after(memory(failures, random));
                *self = Self::Late { until, failures: failures.saturating_add(1) };
                (until, failures == 0)
            }
            End::Same(pause) => {
                let pause = pause.unwrap_or_else(|| memory(sames, random));
                // Sooner, if the token ends meanwhile: the source may have another by then.
                let until = now.saturating_add(millis(pause).min(FIRST));
                *self = Self::Unchanged { until, sames: sames.saturating_add(1) };
                (after(pause), false)
            }
            End::Over(reason) => {
                *self = Self::Terminal(reason);
                (now, true)
            }
        }
    }

    /// Forgets failures because an operator acted. A call in progress goes on.
    pub(crate) fn forget(&mut self) {
        match self {
            Self::Backoff { .. } | Self::Terminal(_) => *self = Self::Idle,
            Self::Calling { failures, .. } => *failures = 0,
            Self::Late { until, failures } => (*until, *failures) = (0, 0),
            Self::Unchanged { until, .. } => *until = 0,
            Self::Idle => {}
        }
    }

    /// Returns why the source gives no token until an operator acts, if that is so.
    pub(crate) const fn over(&self) -> Option<Reason> {
        match self {
            Self::Terminal(reason) => Some(*reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Begin,
        End(u8),
        Forget,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Begin),
            3 => (0_u8..6).prop_map(Step::End),
            1 => Just(Step::Forget),
            2 => (0_u64..100_000).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Against a log of all that has happened.
        #[test]
        fn refresh_calls_once_at_a_time_and_remembers_a_failure(
            steps in prop::collection::vec(step(), 0..60),
            random in 0.0_f64..=1.0,
        ) {
            let mut flight = Refresh::default();
            let (mut now, mut open, mut late) = (0_u64, false, false);
            let (mut row, mut last, mut over): (u32, u64, bool) = (0, 0, false);
            let mut until = 0;
            for step in steps {
                match step {
                    Step::Begin => {
                        let begun = flight.begin(now);
                        match begun {
                            Begin::UnderWay => prop_assert!(open && !late),
                            Begin::Over(_) => prop_assert!(!open && over),
                            // Never a second time before the first has ended.
                            Begin::Later(at) if open => {
                                prop_assert!(late && at > now && at <= now + 72_001);
                                if at != until {
                                    prop_assert!(now >= until);
                                    (row, until) = (row + 1, at);
                                }
                            }
                            Begin::Later(at) => {
                                prop_assert!(!open && !over && row > 0 && at > now);
                                // Short, and growing: within a fifth of its time.
                                let memory = (500 * 2_u64.pow(row - 1).min(120)).min(60_000);
                                prop_assert!((memory..=memory * 6 / 5 + 1).contains(&(at - last)));
                            }
                            Begin::Started => {
                                prop_assert!(!open && !over);
                                prop_assert!(row == 0 || now >= last + 500);
                                open = true;
                            }
                        }
                    }
                    Step::End(how) if open => {
                        (open, late) = (how == 5, how == 5);
                        let (end, failed) = match how {
                            0 => (End::Renewed, false),
                            1 => (End::Overtaken, false),
                            2 => (End::Over(Reason::Revoked), false),
                            5 => (End::Late, true),
                            _ => (End::Failed(None), true),
                        };
                        let (at, first) = flight.end(end, now, random);
                        prop_assert_eq!(first, failed && row == 0 || how == 2 && !over);
                        over |= how == 2;
                        row = if failed { row + 1 } else if how < 2 { 0 } else { row };
                        last = if failed { now } else { last };
                        until = at;
                    }
                    Step::End(_) => {}
                    Step::Forget => {
                        flight.forget();
                        (row, over, until) = (0, false, 0);
                    }
                    Step::Pass(time) => now += time,
                }
            }
        }
    }

    #[test]
    fn refresh_follows_the_pauses_of_a_source_that_gives_nothing_new() {
        let mut flight = Refresh::default();
        for now in (0..100).map(|n| n * 10_000) {
            assert_eq!(flight.begin(now), Begin::Started);
            let again = Some(Duration::from_secs(10));
            assert_eq!(flight.end(End::Same(again), now, 1.0), (now + 10_000, false));
        }
        // One that does not say how often is asked less and less.
        let mut now = 2_000_000;
        for wait in [500, 1_000, 2_000] {
            assert_eq!(flight.begin(now), Begin::Started);
            if wait == 500 {
                flight = Refresh::Calling { failures: 0, sames: 0 };
            }
            assert_eq!(flight.end(End::Same(None), now, 0.0).0, now + wait);
            now += wait;
        }
        // A failure after that is the first of its row.
        assert_eq!(flight.begin(now), Begin::Started);
        assert!(flight.end(End::Failed(None), now, 0.0).1);
    }

    #[test]
    fn refresh_waits_as_long_as_a_source_asks_up_to_ten_minutes() {
        let wait = |delay| {
            let mut flight = Refresh::default();
            assert_eq!(flight.begin(0), Begin::Started);
            flight.end(End::Failed(Some(Duration::from_secs(delay))), 0, 0.0).0
        };
        assert_eq!((wait(0), wait(30), wait(1_000_000)), (500, 30_000, 600_000));
    }
}
