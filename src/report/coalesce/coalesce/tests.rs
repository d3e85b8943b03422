use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use http::{Method, StatusCode};
use proptest::prelude::*;
use tokio::{runtime, time::sleep};

use super::*;
use crate::report::{Outcome, RequestRecord};

const WINDOW: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);

fn event(kind: u8) -> Event {
    let outcome = Outcome::Answer(StatusCode::BAD_GATEWAY);
    Event::RequestFailed(RequestRecord::new(Method::GET, format!("/{kind}"), outcome))
}

/// Returns the kind of an event, and the number of events held back that it stands for.
fn short(event: &Event) -> (String, u64) {
    match event {
        Event::Coalesced(held) => (short(&held.last).0, held.held_back),
        event => (event.record().unwrap().path.to_string(), 0),
    }
}

type Reported = Arc<Mutex<Vec<(Instant, String, u64)>>>;

/// Returns a reporter and the list of what it receives, with the times.
fn recorder() -> (ReporterHandle, Reported) {
    let reported = Reported::default();
    let memory = reported.clone();
    let reporter = ReporterHandle::new(move |event: &Event| {
        let (kind, count) = short(event);
        memory.lock().unwrap().push((Instant::now(), kind, count));
    });
    (reporter, reported)
}

/// Returns the received events without their times.
fn said(reported: &Reported) -> Vec<(String, u64)> {
    reported.lock().unwrap().iter().map(|(_, kind, count)| (kind.clone(), *count)).collect()
}

fn words(words: &[(&str, u64)]) -> Vec<(String, u64)> {
    words.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

fn paused() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Sleeps, and lets the task run first if both wake at the same time.
async fn pass(time: Duration) {
    sleep(time).await;
    tokio::task::yield_now().await;
}

fn timer_of(coalesce: &Coalesce) -> String {
    let core = &coalesce.0.0;
    let timer = match core.lock().timer {
        Timer::Idle => "idle",
        Timer::Starting => "starting",
        Timer::Running(ref task) if task.is_finished() => "finished",
        Timer::Running(_) => "running",
        Timer::Missing(_) => "missing",
    };
    timer.to_owned()
}

#[tokio::test(start_paused = true)]
async fn task_starts_with_the_first_event_held_back_and_ends_with_its_window() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, WINDOW).unwrap();
    let tasks = || runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let start = Instant::now();
    for kind in 0..3 {
        coalesce.report(&event(kind));
        pass(WINDOW / 10).await;
    }
    assert_eq!(tasks(), before, "nothing is held back");
    for kind in [0, 1, 2, 2] {
        coalesce.report(&event(kind));
        assert_eq!(tasks(), before + 1);
    }
    pass(WINDOW).await;
    assert_eq!(tasks(), before);
    assert_eq!(timer_of(&coalesce), "idle");
    let reported = reported.lock().unwrap().clone();
    let ends = |kind: u32| start + WINDOW / 10 * kind + WINDOW;
    assert_eq!(
        reported[3..],
        [
            (ends(0), "/0".to_owned(), 1),
            (ends(1), "/1".to_owned(), 1),
            (ends(2), "/2".to_owned(), 2),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn last_drop_reports_the_counts_and_ends_the_task() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, WINDOW).unwrap();
    let clone = coalesce.clone();
    for _ in 0..4 {
        coalesce.report(&event(7));
    }
    drop(coalesce);
    assert_eq!(said(&reported), words(&[("/7", 0)]));
    drop(clone);
    assert_eq!(said(&reported), words(&[("/7", 0), ("/7", 3)]));
    tokio::task::yield_now().await;
    assert_eq!(runtime::Handle::current().metrics().num_alive_tasks(), 0);
    pass(WINDOW * 2).await;
    assert_eq!(said(&reported).len(), 2, "reported twice");
}

#[test]
fn runtime_that_ends_while_the_task_waits_loses_no_count() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, HOUR).unwrap();
    for round in 1..=3 {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            coalesce.report(&event(0));
            coalesce.report(&event(0));
        });
        assert_eq!(timer_of(&coalesce), "running", "round {round}");
        drop(runtime);
        assert_eq!(timer_of(&coalesce), "finished", "round {round}");
    }
    drop(coalesce);
    assert_eq!(said(&reported), words(&[("/0", 0), ("/0", 5)]));
}

#[test]
fn new_runtime_gets_a_new_task() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, HOUR).unwrap();
    for _ in 0..2 {
        paused().block_on(async {
            // The clocks of two paused runtimes differ by less than an hour.
            coalesce.report(&event(0));
            coalesce.report(&event(0));
        });
    }
    paused().block_on(async {
        coalesce.report(&event(0));
        pass(HOUR * 2).await;
    });
    assert_eq!(said(&reported), words(&[("/0", 0), ("/0", 4)]));
    assert_eq!(timer_of(&coalesce), "idle");
}

#[test]
fn count_without_a_runtime_is_reported_with_the_next_event_after_the_end() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, Duration::from_nanos(1)).unwrap();
    // Without a runtime the clock cannot be paused: the window is one that has ended at once.
    let core = &coalesce.0.0;
    let now = Instant::now();
    let held = event(0);
    for _ in 0..3 {
        let fingerprint = Fingerprint::of(&held).unwrap();
        let _ = core.lock().windows.report(fingerprint, &held, now);
    }
    while Instant::now() < now + Duration::from_nanos(1) {}
    coalesce.report(&event(1));
    assert_eq!(said(&reported), words(&[("/0", 2), ("/1", 0)]));
    assert_eq!(timer_of(&coalesce), "idle");
}

#[test]
fn timer_is_looked_for_once_a_window_in_a_runtime_without_one() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, HOUR).unwrap();
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            coalesce.report(&event(0));
        }
    });
    assert_eq!(timer_of(&coalesce), "missing");
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    drop(coalesce);
    assert_eq!(said(&reported), words(&[("/0", 0), ("/0", 2)]));
}

#[tokio::test(start_paused = true)]
async fn task_is_started_by_the_first_report_inside_a_runtime() {
    let (reporter, reported) = recorder();
    let coalesce = Coalesce::new(reporter, WINDOW).unwrap();
    coalesce.report(&event(0));
    let clone = coalesce.clone();
    thread::spawn(move || clone.report(&event(0))).join().unwrap();
    assert_eq!(timer_of(&coalesce), "idle");
    coalesce.report(&event(0));
    assert_eq!(timer_of(&coalesce), "running");
    pass(WINDOW).await;
    assert_eq!(said(&reported), words(&[("/0", 0), ("/0", 2)]));
}

#[tokio::test(start_paused = true)]
async fn reporter_that_reports_does_not_deadlock() {
    let within: Arc<OnceLock<Coalesce>> = Arc::default();
    let reported = Arc::new(AtomicUsize::new(0));
    let (again, count) = (within.clone(), reported.clone());
    let reporter = ReporterHandle::new(move |event: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
        let last = if let Event::Coalesced(held) = event { &held.last } else { event };
        again.get().unwrap().report(last);
    });
    let coalesce = within.get_or_init(|| Coalesce::new(reporter, WINDOW).unwrap()).clone();
    coalesce.report(&event(0));
    assert_eq!(reported.load(Ordering::Relaxed), 1);
    // The count is reported, the event it reports opens a window, and the next one is held back.
    pass(WINDOW).await;
    assert_eq!(reported.load(Ordering::Relaxed), 3);
    coalesce.flush();
    assert_eq!(reported.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn panicking_reporter_affects_neither_the_task_nor_the_count() {
    let (sender, reported) = mpsc::channel();
    let reporter = ReporterHandle::new(move |event: &Event| {
        let _ = sender.send(short(event));
        std::panic::resume_unwind(Box::new("no"));
    });
    let coalesce = Coalesce::new(reporter.clone(), WINDOW).unwrap();
    for _ in 0..2 {
        for _ in 0..3 {
            coalesce.report(&event(0));
        }
        pass(WINDOW).await;
    }
    assert_eq!(reporter.panics(), 4);
    let reported: Vec<_> = reported.try_iter().collect();
    assert_eq!(reported, words(&[("/0", 0), ("/0", 2), ("/0", 0), ("/0", 2)]));
}

#[test]
fn threads_lose_and_duplicate_no_event() {
    let runtime =
        runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let (reporter, reported) = recorder();
    // A window ends with the first of these: the task, a report, a flush, the drop.
    let coalesce = Coalesce::with_capacity(reporter, Duration::from_micros(50), 3).unwrap();
    let threads: Vec<_> = (0..4u8)
        .map(|number| {
            let (coalesce, handle) = (coalesce.clone(), runtime.handle().clone());
            thread::spawn(move || {
                let _inside = (number > 0).then(|| handle.enter());
                for turn in 0..2000u32 {
                    coalesce.report(&event(turn.to_le_bytes()[0] % 5));
                    if turn % 500 == 0 {
                        coalesce.flush();
                    }
                    assert!(coalesce.0.0.lock().windows.len() <= 3);
                }
            })
        })
        .collect();
    drop(coalesce);
    for thread in threads {
        thread.join().unwrap();
    }
    drop(runtime);
    let total: u64 = said(&reported).iter().map(|(_, count)| count.max(&1)).sum();
    assert_eq!(total, 8000);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Report(u8),
    Sleep(u8),
    Flush,
    /// Reported in a runtime, through another clone.
    Clone(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..5u8).prop_map(Op::Report),
        4 => (1..150u8).prop_map(Op::Sleep),
        1 => Just(Op::Flush),
        1 => (0..5u8).prop_map(Op::Clone),
    ];
    prop::collection::vec(op, 0..50)
}

/// Returns the expected events and their times in milliseconds from the start.
fn expected(ops: &[Op], capacity: usize) -> Vec<(u64, String, u64)> {
    let (mut now, mut reported) = (0, Vec::new());
    // Kind, end and count, in the order of the ends.
    let mut open: Vec<(u8, u64, u64)> = Vec::new();
    let end =
        |open: &mut Vec<(u8, u64, u64)>, reported: &mut Vec<_>, until: u64, at: Option<u64>| {
            open.retain(|(kind, end, count)| {
                if *end <= until && *count > 0 {
                    reported.push((at.unwrap_or(*end), format!("/{kind}"), *count));
                }
                *end > until
            });
        };
    for op in ops {
        match op {
            Op::Report(kind) | Op::Clone(kind) => {
                if let Some(window) = open.iter_mut().find(|window| window.0 == *kind) {
                    window.2 += 1;
                    continue;
                }
                reported.push((now, format!("/{kind}"), 0));
                if open.len() < capacity {
                    open.push((*kind, now + 100, 0));
                }
            }
            Op::Sleep(millis) => {
                now += u64::from(*millis);
                end(&mut open, &mut reported, now, None);
            }
            Op::Flush => end(&mut open, &mut reported, u64::MAX, Some(now)),
        }
    }
    end(&mut open, &mut reported, u64::MAX, Some(now));
    reported
}

proptest! {
    #[test]
    fn count_is_reported_at_the_end_of_its_window_or_on_drop(
        ops in ops(),
        capacity in 1..6usize,
    ) {
        let (reporter, reported) = recorder();
        let start = paused().block_on(async {
            let start = Instant::now();
            let coalesce = Coalesce::with_capacity(reporter, WINDOW, capacity).unwrap();
            for op in &ops {
                match op {
                    Op::Report(kind) => coalesce.report(&event(*kind)),
                    Op::Sleep(millis) => pass(Duration::from_millis((*millis).into())).await,
                    Op::Flush => coalesce.flush(),
                    Op::Clone(kind) => coalesce.clone().report(&event(*kind)),
                }
            }
            start
        });
        let reported: Vec<_> = reported
            .lock()
            .unwrap()
            .iter()
            .map(|(at, kind, count)| {
                let at = u64::try_from((*at - start).as_millis()).unwrap();
                (at, kind.clone(), *count)
            })
            .collect();
        prop_assert_eq!(reported, expected(&ops, capacity));
    }
}

#[test]
fn window_and_capacity_out_of_range_are_errors() {
    let new = |window, capacity| {
        let made = Coalesce::with_capacity(ReporterHandle::none(), window, capacity);
        made.map(drop)
    };
    let day = Duration::from_secs(24 * 60 * 60);
    let tick = Duration::from_nanos(1);
    assert_eq!(new(Duration::ZERO, 1), Err(CoalesceError::ZeroWindow));
    assert_eq!(new(day + tick, 1), Err(CoalesceError::WindowTooLong));
    assert_eq!(new(Duration::MAX, 1), Err(CoalesceError::WindowTooLong));
    assert_eq!(new(day, 0), Err(CoalesceError::ZeroCapacity));
    assert_eq!(new(day, 65_537), Err(CoalesceError::CapacityTooLarge));
    assert_eq!(new(tick, 1), Ok(()));
    assert_eq!(new(day, 65_536), Ok(()));
}

#[test]
fn handle_without_a_reporter_stays_one_but_its_window_is_checked() {
    let none = |window| Coalesce::handle(ReporterHandle::none(), window);
    assert!(none(WINDOW).unwrap().is_none());
    assert_eq!(none(Duration::ZERO).map(drop), Err(CoalesceError::ZeroWindow));
    assert!(!Coalesce::handle(recorder().0, WINDOW).unwrap().is_none());
}
