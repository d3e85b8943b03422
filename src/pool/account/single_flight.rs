//! One refresh at a time for each account. Pure: times are arguments, in the pool's own.

use std::time::Duration;

use super::cooldown::millis;
use crate::classify::Reason;

/// Whether an account's source is being asked, and when it may be asked again.
///
/// Whoever is let [begin](Self::begin) must [end](Self::end) it, whatever happens.
#[derive(Debug, Default)]
pub(crate) struct SingleFlight {
    under_way: bool,
    /// Nobody waits for the one that is under way any longer.
    late: bool,
    /// In a row.
    failures: u32,
    /// How often in a row it gave nothing new, which is no failure.
    sames: u32,
    not_before: u64,
    /// The source gives nothing until a person acts.
    over: Option<Reason>,
}

/// Whether a source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// By whoever hears this.
    Started,
    /// By somebody else, whose answer is for all.
    UnderWay,
    /// Not before this time: it has failed, and asking again at once would not help. Or it was asked
    /// long ago, and may answer yet.
    Later(u64),
    /// Not until a person acts.
    Over(Reason),
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There is another credential.
    Renewed,
    /// There is none; the source wants to be left alone for so long.
    Failed(Option<Duration>),
    /// It is as if it had failed for those who wait; but it is asked nothing else, as it may answer
    /// yet: that is one more end.
    Late,
    /// It gave what is there already, and wants to be asked again after so long.
    Same(Option<Duration>),
    /// The source gives nothing until a person acts.
    Over(Reason),
    /// Somebody has put another in meanwhile: what was learned counts no more.
    Overtaken,
}

/// The first memory of a failure, and the longest.
const FIRST: u64 = 500;
const LONGEST: u64 = 60_000;
/// The longest that a source may ask for: it may be wrong.
const AT_MOST: Duration = Duration::from_secs(10 * 60);

/// How long a failure is remembered that came after so many others. Those that failed together shall
/// not all come back together.
fn memory(failures: u32, random: f64) -> Duration {
    let doubled = (FIRST << failures.min(16)).min(LONGEST);
    Duration::from_millis(doubled).mul_f64(1.0 + random / 5.0)
}

impl SingleFlight {
    pub(crate) fn begin(&mut self, now: u64) -> Begin {
        if self.under_way && self.late {
            if now >= self.not_before {
                self.not_before = now.saturating_add(millis(memory(self.failures, 0.0)));
                self.failures = self.failures.saturating_add(1);
            }
            Begin::Later(self.not_before)
        } else if self.under_way {
            Begin::UnderWay
        } else if let Some(reason) = self.over {
            Begin::Over(reason)
        } else if now < self.not_before {
            Begin::Later(self.not_before)
        } else {
            self.under_way = true;
            Begin::Started
        }
    }

    /// [Begins](Self::begin) because of a refusal: that a source had nothing new before is no failure.
    pub(crate) fn begin_after_rejection(&mut self, now: u64) -> Begin {
        if self.sames > 0 {
            self.not_before = 0;
        }
        self.begin(now)
    }

    /// Takes note of how it went, and says when the source may be asked again, and whether that is the
    /// first failure in a row. `random` is from 0 to 1.
    pub(crate) fn end(&mut self, end: End, now: u64, random: f64) -> (u64, bool) {
        debug_assert!(self.under_way, "it has begun");
        self.late = end == End::Late;
        self.under_way = self.late;
        let mut first = false;
        let wait = |times: u32| memory(times, random);
        let sames = std::mem::take(&mut self.sames);
        match end {
            End::Renewed | End::Overtaken => (self.failures, self.not_before) = (0, 0),
            End::Failed(_) | End::Late => {
                first = self.failures == 0;
                let delay = if let End::Failed(delay) = end { delay } else { None };
                let asked = delay.unwrap_or_default().min(AT_MOST);
                self.not_before = now.saturating_add(millis(wait(self.failures).max(asked)));
                self.failures = self.failures.saturating_add(1);
            }
            End::Same(again) => {
                let again = again.unwrap_or_else(|| wait(sames));
                (self.failures, self.sames) = (0, sames.saturating_add(1));
                // Sooner, if it ends meanwhile: it may have another by then.
                self.not_before = now.saturating_add(millis(again).min(FIRST));
                return (now.saturating_add(millis(again)), false);
            }
            End::Over(reason) => {
                first = self.over.is_none();
                self.over = Some(reason);
            }
        }
        (self.not_before, first)
    }

    /// A person has acted: what failed before may work now.
    pub(crate) fn forget(&mut self) {
        (self.failures, self.not_before, self.over) = (0, 0, None);
    }

    /// What a person must do something about.
    pub(crate) const fn over(&self) -> Option<Reason> {
        self.over
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
        fn one_is_under_way_and_a_failure_is_remembered(
            steps in prop::collection::vec(step(), 0..60),
            random in 0.0_f64..=1.0,
        ) {
            let mut flight = SingleFlight::default();
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
    fn a_source_that_gives_nothing_new_is_asked_as_often_as_it_wants_and_has_not_failed() {
        let mut flight = SingleFlight::default();
        for now in (0..100).map(|n| n * 10_000) {
            assert_eq!(flight.begin(now), Begin::Started);
            let again = Some(Duration::from_secs(10));
            assert_eq!(flight.end(End::Same(again), now, 1.0), (now + 10_000, false));
        }
        // One that does not say how often is asked less and less.
        let mut now = 2_000_000;
        for wait in [500, 1_000, 2_000] {
            assert_eq!(flight.begin(now), Begin::Started);
            flight.sames = if wait == 500 { 0 } else { flight.sames };
            assert_eq!(flight.end(End::Same(None), now, 0.0).0, now + wait);
            now += wait;
        }
        // A failure after that is the first of its row.
        assert_eq!(flight.begin(now), Begin::Started);
        assert!(flight.end(End::Failed(None), now, 0.0).1);
    }

    #[test]
    fn a_source_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() {
        let wait = |delay| {
            let mut flight = SingleFlight::default();
            assert_eq!(flight.begin(0), Begin::Started);
            flight.end(End::Failed(Some(Duration::from_secs(delay))), 0, 0.0).0
        };
        assert_eq!((wait(0), wait(30), wait(1_000_000)), (500, 30_000, 600_000));
    }
}
