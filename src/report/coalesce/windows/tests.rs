use http::{Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::report::{Outcome, RequestRecord};

const WINDOW: Duration = Duration::from_millis(10);

/// The `number`th event, of this kind.
fn event(kind: u8, number: usize) -> Event {
    let outcome = Outcome::Answer(StatusCode::BAD_GATEWAY);
    let mut record = RequestRecord::new(Method::GET, format!("/{kind}"), outcome);
    record.request_id = Some(number.to_string().into());
    Event::RequestFailed(record)
}

fn number(event: &Event) -> usize {
    event.record().unwrap().request_id.as_ref().unwrap().parse().unwrap()
}

/// One thing that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    At(usize),
    Counted { last: usize, count: u64 },
}

fn counted(event: &Event) -> Told {
    let Event::Coalesced(held) = event else { panic!("{event:?}") };
    assert_eq!(held.window, WINDOW);
    Told::Counted { last: number(&held.last), count: held.held_back }
}

/// The windows, as the adapter asks them.
struct Asked {
    windows: Windows,
    told: Vec<Told>,
}

impl Asked {
    fn new(capacity: usize) -> Self {
        Self { windows: Windows::new(WINDOW, capacity), told: Vec::new() }
    }

    fn end(&mut self, now: Instant) {
        self.told.extend(self.windows.end(now).iter().map(counted));
    }

    fn report(&mut self, kind: u8, number: usize, now: Instant) {
        self.end(now);
        let event = event(kind, number);
        let fingerprint = Fingerprint::of(&event).unwrap();
        if self.windows.report(fingerprint, &event, now) == Fate::Tell {
            self.told.push(Told::At(number));
        }
    }

    fn end_all(&mut self) {
        self.told.extend(self.windows.end_all().iter().map(counted));
    }
}

/// The same, with a list of windows that is searched and rebuilt each time.
struct Oracle {
    capacity: usize,
    /// Kind, start, how many, the last.
    open: Vec<(u8, Instant, u64, usize)>,
    told: Vec<Told>,
}

impl Oracle {
    fn end(&mut self, over: impl Fn(Instant) -> bool) {
        let (ended, open) = self.open.iter().partition(|window| over(window.1));
        self.open = open;
        let ended: Vec<(u8, Instant, u64, usize)> = ended;
        for (_, _, count, last) in ended {
            if count > 0 {
                self.told.push(Told::Counted { last, count });
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
        self.told.push(Told::At(number));
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
    fn every_event_is_told_or_counted_once_as_a_naive_list_says(
        ops in ops(),
        capacity in 1..7usize,
    ) {
        let mut now = Instant::now();
        let mut asked = Asked::new(capacity);
        let mut oracle = Oracle { capacity, open: Vec::new(), told: Vec::new() };
        let mut reported = 0;
        for op in ops {
            match op {
                Op::Report(kind) => {
                    asked.report(kind, reported, now);
                    oracle.report(kind, reported, now);
                    reported += 1;
                }
                Op::Wait(millis) => now += Duration::from_millis(millis),
                Op::End => {
                    asked.end(now);
                    oracle.end(|start| now - start >= WINDOW);
                }
                Op::Flush => {
                    asked.end_all();
                    oracle.end(|_| true);
                }
            }
            prop_assert_eq!(&asked.told, &oracle.told);
            let windows = &asked.windows;
            prop_assert!(windows.open.len() <= capacity);
            prop_assert_eq!(windows.open.len(), windows.ends.len());
            prop_assert_eq!(windows.open.len(), oracle.open.len());
            let holding = oracle.open.iter().any(|window| window.2 > 0);
            let first = oracle.open.iter().map(|window| window.1 + WINDOW).min();
            prop_assert_eq!(windows.wake_at(), first.filter(|_| holding));
        }
        asked.end_all();
        oracle.end(|_| true);
        prop_assert_eq!(&asked.told, &oracle.told);
        let total = asked.told.iter().map(|told| match told {
            Told::At(_) => 1,
            Told::Counted { count, .. } => usize::try_from(*count).unwrap(),
        });
        prop_assert_eq!(total.sum::<usize>(), reported);
    }
}

#[test]
fn a_window_ends_at_its_end_and_not_before() {
    let start = Instant::now();
    let mut asked = Asked::new(8);
    asked.report(0, 0, start);
    asked.report(0, 1, start + WINDOW - Duration::from_nanos(1));
    assert_eq!(asked.told, [Told::At(0)]);
    assert_eq!(asked.windows.wake_at(), Some(start + WINDOW));
    asked.report(0, 2, start + WINDOW);
    assert_eq!(asked.told[1..], [Told::Counted { last: 1, count: 1 }, Told::At(2)]);
    // The new window starts with the event that opened it.
    asked.report(0, 3, start + WINDOW * 2 - Duration::from_nanos(1));
    assert_eq!(asked.told.len(), 3);
}

#[test]
fn what_finds_no_room_is_told_until_there_is_room() {
    let start = Instant::now();
    let mut asked = Asked::new(1);
    asked.report(0, 0, start);
    asked.report(1, 1, start);
    asked.report(1, 2, start);
    assert_eq!(asked.told, [Told::At(0), Told::At(1), Told::At(2)]);
    // What has a window is held back, room or not.
    asked.report(0, 3, start);
    asked.report(1, 4, start + WINDOW);
    asked.report(1, 5, start + WINDOW);
    asked.end_all();
    let rest =
        [Told::Counted { last: 3, count: 1 }, Told::At(4), Told::Counted { last: 5, count: 1 }];
    assert_eq!(asked.told[3..], rest);
}
