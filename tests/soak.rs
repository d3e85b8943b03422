//! The checks of `cargo run --release --example soak`: the book detects wrong events.

#![allow(clippy::unwrap_used, reason = "a bad case is a panic")]

// This test uses only a part of each module.
#[allow(dead_code)]
#[path = "../examples/soak/ask.rs"]
mod ask;
#[allow(dead_code)]
#[path = "../examples/soak/book.rs"]
mod book;
#[allow(dead_code)]
#[path = "../examples/soak/figures.rs"]
mod figures;
#[allow(dead_code)]
#[path = "../examples/soak/memory.rs"]
mod memory;
#[allow(dead_code)]
#[path = "../examples/soak/options.rs"]
mod options;
#[allow(dead_code)]
#[path = "../examples/soak/token.rs"]
mod token;

use std::time::Duration;

use ask::Ended;
use book::{Book, Sums};
use figures::Figures;
use http::{Method, StatusCode};
use options::Options;
use token::{Key, id};
use tokio::time::advance;
use tower_failover::{
    Event, Reason, Verdict,
    report::{AccountOut, AccountTag, Attempt, OutReason, Outcome, PoolDead, RequestRecord},
};

const KEY: Key = Key { account: 3, generation: 2 };
const QUARANTINE: Duration = Duration::from_millis(100);

/// Sends once, with an answer of this status.
fn send(book: &Book, request: u64, status: u16) {
    let send = book.sent(request, KEY, book.tick());
    book.ended(send, Some(status));
}

fn out(generation: u64) -> AccountOut {
    let account = AccountTag::new(id(KEY.account), KEY.account + 1, 5);
    let status = Some(StatusCode::UNAUTHORIZED);
    AccountOut::new(account, generation, OutReason::Rejected(Reason::Invalid), status, QUARANTINE)
}

fn record(request: u64, attempts: usize) -> RequestRecord {
    let outcome = Outcome::Answer(StatusCode::UNAUTHORIZED);
    let mut record = RequestRecord::new(Method::GET, "/", outcome);
    record.request_id = Some(request.to_string().into());
    let mut attempt = Attempt::new(Verdict::Unauthorized(Reason::Invalid));
    (attempt.account, attempt.generation) = (Some(id(KEY.account).into()), Some(KEY.generation));
    record.trail = vec![attempt; attempts];
    record
}

/// Records a request that is rejected, the incident, and its report.
fn reject(book: &Book, request: u64) {
    send(book, request, 401);
    book.event(&Event::AccountOut(out(KEY.generation)));
    book.event(&Event::RequestFailed(record(request, 1)));
}

/// A fault, and the wrong events that cause it.
type Wrong = (&'static str, fn(&Book));

fn close(book: &Book, ended: &[(u64, Ended)]) -> (Sums, Vec<String>) {
    book.close(ended, &[1, 1, 1, KEY.generation, 1])
}

#[tokio::test(start_paused = true)]
async fn rejection_with_incident_and_report_has_no_fault() {
    let book = Book::default();
    reject(&book, 1);
    let (sums, faults) = close(&book, &[(1, Ended::Failed)]);
    assert_eq!(faults, [""; 0]);
    assert_eq!((sums.reports, sums.incidents, sums.sends, sums.rejected), (1, 1, 1, 1));
    assert_eq!(sums.sends_after_refusal, 0);
}

#[tokio::test(start_paused = true)]
async fn send_after_the_incident_is_a_fault_and_one_in_flight_is_not() {
    let book = Book::default();
    let before = book.tick();
    reject(&book, 1);
    let allowed = book.sent(2, KEY, before);
    book.ended(allowed, Some(200));
    assert_eq!(close(&book, &[(1, Ended::Failed), (2, Ended::Ok)]).0.sends_after_refusal, 0);
    send(&book, 3, 200);
    let (sums, faults) = close(&book, &[(3, Ended::Ok)]);
    assert_eq!((sums.sends_after_refusal, faults.len()), (1, 1), "{faults:?}");
}

#[tokio::test(start_paused = true)]
async fn probe_is_allowed_when_due_and_heals() {
    let book = Book::default();
    reject(&book, 1);
    advance(QUARANTINE).await;
    let probe = book.sent(2, KEY, book.tick());
    assert_eq!(close(&book, &[(1, Ended::Failed)]).0.sends_after_refusal, 0);
    let second = book.sent(3, KEY, book.tick());
    assert_eq!(close(&book, &[]).0.sends_after_refusal, 1, "two at once");
    book.ended(second, Some(200));
    send(&book, 4, 200);
    assert_eq!(close(&book, &[]).0.sends_after_refusal, 2, "a send that is no probe heals nothing");
    book.ended(probe, Some(503));
    let probe = book.sent(5, KEY, book.tick());
    book.ended(probe, Some(200));
    send(&book, 6, 200);
    let (sums, _) = close(&book, &[]);
    assert_eq!((sums.sends_after_refusal, sums.probes, sums.healed), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn resent_rejected_token_is_a_fault_without_an_incident() {
    let book = Book::default();
    let before = book.tick();
    let first = book.sent(1, KEY, before);
    book.ended(first, Some(401));
    book.sent(1, KEY, before);
    assert_eq!(close(&book, &[]).0.sends_after_refusal, 1);
}

#[tokio::test(start_paused = true)]
async fn wrong_event_of_a_request_is_a_fault() {
    for (sends, failed, abandoned, recovered, ended) in [
        (1, 0, 0, 0, Ended::Failed),
        (1, 2, 0, 0, Ended::Failed),
        (2, 1, 1, 0, Ended::Failed),
        (1, 1, 0, 0, Ended::Ok),
        (1, 1, 0, 0, Ended::Cut),
        (1, 0, 1, 0, Ended::Ok),
        (2, 0, 0, 0, Ended::Ok),
        (2, 0, 0, 2, Ended::Ok),
        (2, 0, 0, 1, Ended::Failed),
        (1, 1, 0, 0, Ended::Dropped),
        (1, 0, 2, 0, Ended::Dropped),
        (2, 0, 0, 0, Ended::Dropped),
        (0, 0, 1, 0, Ended::Dropped),
        (1, 1, 0, 0, Ended::Hung),
    ] {
        let book = Book::default();
        (0..sends).for_each(|_| send(&book, 1, 503));
        let lines = |last| usize::try_from(sends).unwrap().saturating_sub(last);
        (0..failed).for_each(|_| book.event(&Event::RequestFailed(record(1, lines(0)))));
        (0..abandoned).for_each(|_| book.event(&Event::RequestAbandoned(record(1, lines(1)))));
        (0..recovered).for_each(|_| book.event(&Event::RequestRecovered(record(1, lines(1)))));
        book.event(&Event::AccountOut(out(KEY.generation - 1)));
        let (_, faults) = close(&book, &[(1, ended)]);
        let about = faults.iter().filter(|fault| fault.contains("request 1 ended")).count();
        assert_eq!(about, 1, "{sends} {failed} {abandoned} {recovered} {ended:?}: {faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_event_of_a_token_or_a_trail_is_a_fault() {
    let faults_by_cause: [Wrong; 6] = [
        ("reported to be out twice", |book| {
            reject(book, 1);
            book.event(&Event::PoolDead(PoolDead::new(5, out(KEY.generation), None)));
        }),
        ("had not been rejected", |book| {
            book.event(&Event::AccountOut(out(KEY.generation)));
            send(book, 1, 401);
            book.event(&Event::RequestFailed(record(1, 1)));
        }),
        ("not reported", |book| {
            send(book, 1, 401);
            book.event(&Event::RequestFailed(record(1, 1)));
        }),
        ("1 sends, and reported 2", |book| {
            send(book, 1, 401);
            book.event(&Event::RequestFailed(record(1, 2)));
        }),
        ("2 sends, and reported 1", |book| {
            send(book, 1, 503);
            reject(book, 1);
        }),
        ("request 2 was never sent", |book| {
            reject(book, 1);
            book.event(&Event::RequestAbandoned(record(2, 0)));
        }),
    ];
    for (fault, wrong) in faults_by_cause {
        let book = Book::default();
        wrong(&book);
        let (_, faults) = close(&book, &[(1, Ended::Failed)]);
        assert!(faults.iter().any(|found| found.contains(fault)), "{fault}: {faults:?}");
    }
}

#[test]
fn memory_growth_is_described() {
    let megabytes = |n: u64| Some(n << 20);
    assert_eq!(memory::grown(megabytes(100), megabytes(100)), None);
    assert_eq!(memory::grown(megabytes(100), megabytes(118)), None);
    assert!(memory::grown(megabytes(100), megabytes(119)).is_some());
    assert_eq!(memory::grown(None, None), None);
    if cfg!(target_os = "linux") {
        assert!(memory::resident().unwrap() > 1 << 20);
    }
}

#[test]
fn json_has_nine_figures() {
    let figures = Figures { requests: 3, ok: 2, rss_before: Some(4096), ..Figures::default() };
    assert_eq!(
        figures.json(),
        "{\"requests\":3,\"ok\":2,\"failed\":0,\"reports\":0,\"incidents\":0,\
         \"sends_after_refusal\":0,\"hung\":0,\"rss_before\":4096,\"rss_after\":null}\n"
    );
}

#[test]
fn arguments_are_parsed_and_invalid_ones_are_named_in_errors() {
    let parse = |args: &str| Options::parse(args.split_whitespace().map(str::to_owned));
    let options = parse("--requests 500 --accounts 5 --seed 9 --json").unwrap().unwrap();
    assert_eq!((options.requests, options.accounts, options.seed), (500, 5, 9));
    assert!(options.json && parse("--json --help").unwrap().is_none());
    for (args, message) in [
        ("--seed", "--seed needs a number"),
        ("--requests 99", "--requests needs a number from 100 to 100000, not \"99\""),
        ("--accounts x", "--accounts needs a number from 2 to 1000, not \"x\""),
        ("--sed 1", "unknown argument \"--sed\""),
    ] {
        assert_eq!(parse(args).unwrap_err(), message, "{args}");
    }
}
