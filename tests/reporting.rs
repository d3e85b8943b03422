//! Reporters receive events, and their panics are caught.

#[path = "support/recorder.rs"]
mod recorder;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Method, StatusCode};
use recorder::Recorder;
use tower_failover::{
    Code, Event, Reason, Reporter, Verdict,
    report::{
        AccountOut, AccountTag, Attempt, ChannelReporter, EventReceiver, OutReason, Outcome,
        PoolDead, ReporterHandle, RequestRecord, channel,
    },
};

fn account_out() -> AccountOut {
    let quarantine = Duration::from_secs(300);
    let reason = OutReason::Rejected(Reason::Invalid);
    let alice = AccountTag::new("alice", 1, 2);
    AccountOut::new(alice, 7, reason, Some(StatusCode::UNAUTHORIZED), quarantine)
}

fn record(outcome: Outcome) -> RequestRecord {
    let mut attempt = Attempt::new(Verdict::Unauthorized(Reason::Invalid));
    attempt.account = Some("alice".into());
    attempt.upstream_request_id = Some("u-1".into());
    let mut record = RequestRecord::new(Method::POST, "/v1/videos", outcome);
    let mut first = attempt.clone();
    first.upstream_request_id = Some("u-0".into());
    record.trail = vec![first, attempt];
    record.request_id = Some("r-1".into());
    record.elapsed = Duration::from_millis(1_234);
    record
}

/// One event of each kind.
fn events() -> [Event; 6] {
    let answer = || record(Outcome::Answer(StatusCode::UNAUTHORIZED));
    let mut local = RequestRecord::new(Method::GET, "/", Outcome::Local(Code::PoolLimited));
    local.label = Some("nightly".into());
    let help = "update your tokens in Settings (https://...)";
    [
        Event::RequestFailed(answer()),
        Event::RequestFailed(local),
        Event::RequestRecovered(record(Outcome::Answer(StatusCode::OK))),
        Event::RequestAbandoned(record(Outcome::Dropped)),
        Event::AccountOut(account_out()),
        Event::PoolDead(PoolDead::new(2, account_out(), Some(help.into()))),
    ]
}

const CODES: [&str; 6] = [
    "request_failed",
    "request_failed",
    "request_recovered",
    "request_abandoned",
    "account_out",
    "pool_dead",
];

#[test]
fn recorder_distinguishes_failures_incidents_and_abandoned_requests() {
    let recorder = Recorder::new();
    let handle = ReporterHandle::new(recorder.clone());
    for event in &events() {
        handle.report(event);
    }
    assert_eq!(recorder.codes(), CODES);
    assert_eq!(recorder.failures().len(), 2);
    assert_eq!(recorder.recovered().len(), 1);
    assert_eq!(recorder.abandoned().len(), 1);
    assert_eq!(recorder.incidents().len(), 2);
    recorder.clear();
    assert!(recorder.events().is_empty());
}

#[test]
fn closures_arcs_and_their_handles_receive_events() {
    let received = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&received);
    let closure = move |_: &Event| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let shared: Arc<dyn Reporter> = Arc::new(closure.clone());
    let handles = [ReporterHandle::new(closure), ReporterHandle::new(shared)];
    for handle in &handles {
        assert!(!handle.is_none());
        handle.clone().report(&Event::AccountOut(account_out()));
    }
    assert_eq!(received.load(Ordering::Relaxed), 2);
}

#[test]
fn handles_pass_through_reporter_setters() {
    let handle = ReporterHandle::new(|_: &Event| std::panic::resume_unwind(Box::new("no")));
    let again = ReporterHandle::new(handle.clone());
    again.report(&Event::AccountOut(account_out()));
    assert_eq!(handle.panics(), 1, "one reporter and one count, not one wrapped in another");
    assert!(ReporterHandle::new(ReporterHandle::none()).is_none());
}

#[test]
fn none_handle_reports_nothing() {
    let none = ReporterHandle::none();
    assert!(none.is_none());
    none.report(&Event::AccountOut(account_out()));
    assert_eq!(none.panics(), 0);
}

/// The payload of a panic that panics when it is dropped.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("dropped"));
    }
}

#[test]
fn reporter_panic_is_caught_and_counted() {
    let received = Recorder::new();
    let inner = received.clone();
    let handle = ReporterHandle::new(move |event: &Event| {
        inner.report(event);
        if event.is_failure() {
            std::panic::resume_unwind(Box::new(PanicsOnDrop));
        }
        if event.is_incident() {
            std::panic::resume_unwind(Box::new("no"));
        }
    });
    let other = handle.clone();
    for event in &events() {
        handle.report(event);
    }
    assert_eq!(received.codes(), CODES);
    assert_eq!(handle.panics(), 4);
    assert_eq!(other.panics(), 4, "clones share the count");
}

#[test]
fn handle_debug_output_contains_nothing_of_its_reporter() {
    let handle = ReporterHandle::new(Recorder::new());
    assert_eq!(format!("{handle:?}"), "ReporterHandle { is_none: false, panics: 0 }");
}

#[test]
fn full_channel_drops_and_counts() {
    let (reporter, mut receiver) = channel(2);
    for event in &events() {
        reporter.report(event);
    }
    assert_eq!(reporter.dropped(), 4);
    assert_eq!(receiver.dropped(), 4);
    let codes = [receiver.try_recv(), receiver.try_recv()].map(|event| event.unwrap().code());
    assert_eq!(codes, CODES[..2]);
    assert!(receiver.try_recv().is_none());
    reporter.report(&events()[5]);
    assert_eq!(receiver.try_recv().unwrap().code(), "pool_dead");
}

#[test]
fn channel_accepts_any_capacity() {
    for n in [0, 1] {
        let (reporter, mut receiver) = channel(n);
        for event in &events() {
            reporter.report(event);
        }
        assert_eq!(reporter.dropped(), 5);
        assert_eq!(receiver.try_recv().unwrap().code(), "request_failed");
    }
    let (reporter, _receiver) = channel(usize::MAX);
    for event in &events() {
        reporter.report(event);
    }
    assert_eq!(reporter.dropped(), 0);
}

#[test]
fn dropped_receiver_counts_events_as_dropped() {
    let (reporter, receiver) = channel(8);
    let handle = ReporterHandle::new(reporter.clone());
    drop(receiver);
    handle.report(&events()[0]);
    assert_eq!(reporter.dropped(), 1);
    assert_eq!(handle.panics(), 0);
}

#[tokio::test]
async fn receiver_ends_with_the_last_reporter() {
    let (reporter, mut receiver) = channel(8);
    let received = tokio::spawn(async move {
        let mut codes = Vec::new();
        while let Some(event) = receiver.recv().await {
            codes.push(event.code());
        }
        codes
    });
    for event in &events() {
        reporter.clone().report(event);
    }
    drop(reporter);
    assert_eq!(received.await.unwrap(), CODES);
}

#[test]
fn handles_and_events_cross_threads() {
    fn assert_bounds<T: Send + Sync + 'static>() {}
    assert_bounds::<ReporterHandle>();
    assert_bounds::<Event>();
    assert_bounds::<ChannelReporter>();
    assert_bounds::<EventReceiver>();
    assert_bounds::<Box<dyn Reporter>>();
}

#[cfg(not(feature = "tracing"))]
#[test]
fn default_without_tracing_is_none() {
    assert!(ReporterHandle::default().is_none());
}

#[cfg(feature = "tracing")]
mod tracing_reporter {
    use std::{
        collections::BTreeMap,
        fmt::Debug,
        sync::{Arc, Mutex, MutexGuard, PoisonError},
    };

    use tower_failover::{
        Event,
        report::{Coalesced, ReporterHandle},
    };
    use tracing::{
        Level, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::{CODES, events};

    /// The target, the level and the fields of an event.
    type Seen = (String, Level, BTreeMap<&'static str, String>);

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Seen>>>);

    #[derive(Default)]
    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.to_owned());
        }
    }

    impl Log {
        fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let metadata = event.metadata();
            let target = metadata.target().to_owned();
            let seen = (target, *metadata.level(), fields.0);
            self.seen().push(seen);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn traced(events: &[Event]) -> Vec<Seen> {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || {
            let handle = ReporterHandle::default();
            for event in events {
                handle.report(event);
            }
            assert_eq!(handle.panics(), 0);
        });
        log.seen().clone()
    }

    #[test]
    fn events_have_their_level_code_and_line() {
        let levels =
            [Level::ERROR, Level::DEBUG, Level::DEBUG, Level::DEBUG, Level::WARN, Level::ERROR];
        let events = events();
        let seen = traced(&events);
        assert_eq!(seen.len(), events.len());
        for (at, (target, level, fields)) in seen.into_iter().enumerate() {
            assert_eq!(target, "tower_failover");
            assert_eq!(level, levels[at], "{}", CODES[at]);
            assert_eq!(fields["code"], CODES[at]);
            assert_eq!(fields["message"], events[at].to_string());
        }
    }

    /// Returns the fields without the message, which has its own test.
    fn fields(event: usize) -> String {
        fields_of(events()[event].clone())
    }

    fn fields_of(event: Event) -> String {
        let mut fields = traced(&[event]).remove(0).2;
        fields.remove("message");
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tracing_fields_have_stable_names() {
        let rows = [
            "account=alice attempts=2 code=request_failed elapsed_ms=1234 method=POST \
             not_resent=final outcome=answer path=/v1/videos request_id=r-1 sent=true status=401 \
             upstream_request_id=u-1 verdict=credential_invalid",
            "answer=pool_limited attempts=0 code=request_failed elapsed_ms=0 label=nightly \
             method=GET outcome=local path=/ sent=false status=429",
        ];
        assert_eq!([fields(0), fields(1)], rows);
        assert_eq!(
            fields(4),
            "account=alice accounts=2 code=account_out generation=7 ordinal=1 \
             out_for_ms=300000 reason=credential_invalid status=401"
        );
        assert_eq!(
            fields(5),
            "account=alice accounts=2 code=pool_dead generation=7 \
             help=update your tokens in Settings (https://...) ordinal=1 out_for_ms=300000 \
             reason=credential_invalid status=401"
        );
    }
    #[test]
    fn coalesced_event_has_its_count_and_the_fields_of_the_last() {
        let held = Coalesced::new(events()[0].clone(), 3, std::time::Duration::from_secs(60));
        let held = Event::Coalesced(held);
        assert_eq!(traced(std::slice::from_ref(&held))[0].1, Level::ERROR);
        assert_eq!(
            fields_of(held),
            "account=alice code=coalesced held_back=3 method=POST of=request_failed \
             outcome=answer path=/v1/videos status=401 verdict=credential_invalid \
             window_ms=60000"
        );
    }
}
