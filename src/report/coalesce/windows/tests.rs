use http::{Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::report::{Outcome, RequestRecord};

const WINDOW: Duration = Duration::from_millis(10);

/// Returns the `number`th event, of this kind.
fn event(kind: u8, number: usize) -> Event {
    let outcome = Outcome::Answer(StatusCode::BAD_GATEWAY);
    let mut record = RequestRecord::new(Method::GET, format!("/{kind}"), outcome);
    record.request_id = Some(number.to_string().into());
    Event::RequestFailed(record)
}

fn number(event: &Event) -> usize {
    event.record().unwrap().request_id.as_ref().unwrap().parse().unwrap()
}

/// A reported event or count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    At(usize),
    Counted { last: usize, count: u64 },
}

fn counted(event: &Event) -> Reported {
    let Event::Coalesced(held) = event else { panic!("{event:?}") };
    assert_eq!(held.window, WINDOW);
    Reported::Counted { last: number(&held.last), count: held.held_back }
}

/// The windows, called as the adapter calls them.
struct Actual {
    windows: Windows,
    reported: Vec<Reported>,
}

impl Actual {
    fn new(capacity: usize) -> Self {
        Self { windows: Windows::new(WINDOW, capacity), reported: Vec::new() }
    }

    fn end(&mut self, now: Instant) {
        self.reported.extend(self.windows.end(now).iter().map(counted));
    }

    fn report(&mut self, kind: u8, number: usize, now: Instant) {
        self.end(now);
        let event = event(kind, number);
        let fingerprint = Fingerprint::of(&event).unwrap();
        if self.windows.report(fingerprint, &event, now) == Fate::Report {
            self.reported.push(Reported::At(number));
        }
    }

    fn end_all(&mut self) {
        self.reported.extend(self.windows.end_all().iter().map(counted));
    }
}

/// The oracle: a list of windows that is searched and rebuilt each time.
struct Oracle {
    capacity: usize,
    /// Kind, start, count, the last event.
    open: Vec<(u8, Instant, u64, usize)>,
    reported: Vec<Reported>,
}

impl Oracle {
    fn end(&mut self, over: impl Fn(Instant) -> bool) {
        let (ended, open) = self.open.iter().partition(|window| over(window.1));
        self.open = open;
        let ended: Vec<(u8, Instant, u64, usize)> = ended;
        for (_, _, count, last) in ended {
            if count > 0 {
                self.reported.push(Reported::Counted { last, count });
            }
        }
    }

    fn report(&mut self, kind: u8, number: usize, now: Instant) {
        self.end(|start| now - start >= WINDOW);
        for window in &mut self.open {
            if window.0 == kind {
                (window.2, window.3) = (window.2 + 1, number);
                return;
            }
        }
        self.reported.push(Reported::At(number));
        if self.open.len() < self.capacity {
            self.open.push((kind, now, 0, 0));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Report(u8),
    Wait(u64),
    End,
    Flush,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..6u8).prop_map(Op::Report),
        4 => (0..12u64).prop_map(Op::Wait),
        1 => Just(Op::End),
        1 => Just(Op::Flush),
    ];
    prop::collection::vec(op, 0..80)
}

proptest! {
    #[test]
    fn event_is_reported_or_counted_once_as_a_naive_list_says(
        ops in ops(),
        capacity in 1..7usize,
    ) {
        let mut now = Instant::now();
        let mut actual = Actual::new(capacity);
        let mut oracle = Oracle { capacity, open: Vec::new(), reported: Vec::new() };
        let mut reported = 0;
        for op in ops {
            match op {
                Op::Report(kind) => {
                    actual.report(kind, reported, now);
                    oracle.report(kind, reported, now);
                    reported += 1;
                }
                Op::Wait(millis) => now += Duration::from_millis(millis),
                Op::End => {
                    actual.end(now);
                    oracle.end(|start| now - start >= WINDOW);
                }
                Op::Flush => {
                    actual.end_all();
                    oracle.end(|_| true);
                }
            }
            prop_assert_eq!(&actual.reported, &oracle.reported);
            let windows = &actual.windows;
            prop_assert!(windows.open.len() <= capacity);
            prop_assert_eq!(windows.open.len(), windows.ends.len());
            prop_assert_eq!(windows.open.len(), oracle.open.len());
            let holding = oracle.open.iter().any(|window| window.2 > 0);
            let first = oracle.open.iter().map(|window| window.1 + WINDOW).min();
            prop_assert_eq!(windows.wake_at(), first.filter(|_| holding));
        }
        actual.end_all();
        oracle.end(|_| true);
        prop_assert_eq!(&actual.reported, &oracle.reported);
        let total = actual.reported.iter().map(|reported| match reported {
            Reported::At(_) => 1,
            Reported::Counted { count, .. } => usize::try_from(*count).unwrap(),
        });
        prop_assert_eq!(total.sum::<usize>(), reported);
    }
}

#[test]
fn window_ends_at_its_end_and_not_before() {
    let start = Instant::now();
    let mut actual = Actual::new(8);
    actual.report(0, 0, start);
    actual.report(0, 1, start + WINDOW - Duration::from_nanos(1));
    assert_eq!(actual.reported, [Reported::At(0)]);
    assert_eq!(actual.windows.wake_at(), Some(start + WINDOW));
    actual.report(0, 2, start + WINDOW);
    assert_eq!(actual.reported[1..], [Reported::Counted { last: 1, count: 1 }, Reported::At(2)]);
    // The new window starts with the event that opened it.
    actual.report(0, 3, start + WINDOW * 2 - Duration::from_nanos(1));
    assert_eq!(actual.reported.len(), 3);
}

#[test]
fn event_beyond_the_capacity_is_reported_until_there_is_room() {
    let start = Instant::now();
    let mut actual = Actual::new(1);
    actual.report(0, 0, start);
    actual.report(1, 1, start);
    actual.report(1, 2, start);
    assert_eq!(actual.reported, [Reported::At(0), Reported::At(1), Reported::At(2)]);
    // An event with a window is held back, with or without room.
    actual.report(0, 3, start);
    actual.report(1, 4, start + WINDOW);
    actual.report(1, 5, start + WINDOW);
    actual.end_all();
    let rest = [
        Reported::Counted { last: 3, count: 1 },
        Reported::At(4),
        Reported::Counted { last: 5, count: 1 },
    ];
    assert_eq!(actual.reported[3..], rest);
}
