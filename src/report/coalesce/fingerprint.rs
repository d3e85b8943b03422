//! The identity of an event's cause.

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::{
    classify::Code,
    report::{Event, Outcome, RequestRecord},
};

/// The identity of an event's cause. It contains no text of an upstream or an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint {
    code: &'static str,
    /// The severity depends on it.
    sent: bool,
    method: Method,
    target: Target,
    ended: Ended,
    /// That of the last failed attempt.
    verdict: Option<&'static str>,
    account: Option<Arc<str>>,
    model: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Target {
    /// The label that the caller gave.
    Label(Arc<str>),
    /// The first segment of the path, by [`resource`].
    Resource(Box<str>),
}

/// An [`Outcome`] without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ended {
    Answer(StatusCode),
    Error,
    Local(Code),
    Dropped,
}

impl Fingerprint {
    /// Returns the fingerprint of an event about a request. Incidents have none, since each has a
    /// cause of its own; nor have counts of other events.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        event.record().map(|record| Self::new(event.code(), record))
    }

    fn new(code: &'static str, record: &RequestRecord) -> Self {
        let last = record.trail.last();
        Self {
            code,
            sent: record.sent,
            method: record.method.clone(),
            target: match &record.label {
                Some(label) => Target::Label(label.clone()),
                None => Target::Resource(resource(&record.path).into()),
            },
            ended: match &record.outcome {
                Outcome::Answer(status) => Ended::Answer(*status),
                Outcome::Error(_) => Ended::Error,
                Outcome::Local(code) => Ended::Local(*code),
                Outcome::Dropped => Ended::Dropped,
            },
            verdict: last.map(|attempt| attempt.verdict.as_str()),
            account: last.and_then(|attempt| attempt.account.clone()),
            model: last.and_then(|attempt| attempt.model.clone()),
        }
    }
}

/// Returns the first segment of a path that is not a version (`v1`, `v1beta`). Later segments are often
/// ids, which would make each request a cause of its own.
fn resource(path: &str) -> &str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.find(|segment| !is_version(segment)).unwrap_or_default()
}

fn is_version(segment: &str) -> bool {
    let rest = segment.strip_prefix('v').unwrap_or_default();
    rest.starts_with(|char: char| char.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        classify::{Reason, Verdict},
        report::{AccountOut, AccountTag, Attempt, Coalesced, OutReason, PoolDead},
    };
    use std::time::Duration;

    fn attempt(verdict: Verdict, account: &str) -> Attempt {
        let mut attempt = Attempt::new(verdict);
        attempt.account = Some(account.into());
        attempt
    }

    fn record() -> RequestRecord {
        let outcome = Outcome::Answer(StatusCode::SERVICE_UNAVAILABLE);
        let mut record = RequestRecord::new(Method::POST, "/v1/videos/42", outcome);
        record.trail = vec![attempt(Verdict::unavailable(), "alice")];
        record
    }

    fn failed(change: impl FnOnce(&mut RequestRecord)) -> Option<Fingerprint> {
        let mut record = record();
        change(&mut record);
        Fingerprint::of(&Event::RequestFailed(record))
    }

    #[test]
    fn fingerprint_ignores_what_differs_between_requests() {
        let one = failed(|_| ());
        assert!(one.is_some());
        assert_eq!(one, failed(|record| record.path = "/v1/videos/43".into()));
        assert_eq!(one, failed(|record| record.path = "/videos".into()));
        assert_eq!(one, failed(|record| record.request_id = Some("r-1".into())));
        assert_eq!(one, failed(|record| record.elapsed = Duration::from_secs(7)));
        assert_eq!(one, failed(|record| record.trail[0].generation = Some(7)));
        assert_eq!(one, failed(|record| record.trail[0].error = Some("reset by 10.0.0.7".into())));
        let later = Verdict::unavailable().with_delay(Some(Duration::from_secs(3)));
        assert_eq!(one, failed(|record| record.trail[0].verdict = later));
        // Only the last attempt counts.
        let earlier = attempt(Verdict::limited(), "bob");
        assert_eq!(one, failed(|record| record.trail.insert(0, earlier)));
    }

    #[test]
    fn fingerprint_ignores_the_text_of_an_error() {
        let text = |text: &str| failed(|record| record.outcome = Outcome::Error(text.into()));
        assert_eq!(text("reset by 10.0.0.7"), text("reset by 10.0.0.8"));
        assert_ne!(text("reset by 10.0.0.7"), failed(|_| ()));
    }

    #[test]
    fn fingerprint_differs_by_each_part_of_the_cause() {
        let all = [
            failed(|_| ()),
            failed(|record| record.method = Method::GET),
            failed(|record| record.path = "/v1/chat/completions".into()),
            failed(|record| record.path = "/".into()),
            failed(|record| record.label = Some("videos".into())),
            failed(|record| record.label = Some("nightly".into())),
            failed(|record| record.outcome = Outcome::Answer(StatusCode::BAD_GATEWAY)),
            failed(|record| record.outcome = Outcome::Error("reset".into())),
            failed(|record| record.outcome = Outcome::Local(Code::PoolLimited)),
            failed(|record| record.outcome = Outcome::Local(Code::PoolEmpty)),
            failed(|record| record.outcome = Outcome::Dropped),
            failed(|record| record.sent = false),
            failed(|record| record.trail.clear()),
            failed(|record| record.trail[0].verdict = Verdict::timed_out()),
            failed(|record| record.trail[0].account = None),
            failed(|record| record.trail[0].account = Some("bob".into())),
            failed(|record| record.trail[0].model = Some("large".into())),
            Fingerprint::of(&Event::RequestRecovered(record())),
            Fingerprint::of(&Event::RequestAbandoned(record())),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn label_replaces_the_path() {
        let labelled = |path: &str| {
            failed(|record| {
                record.label = Some("nightly".into());
                record.path = path.into();
            })
        };
        assert_eq!(labelled("/videos"), labelled("/images"));
    }

    #[test]
    fn incidents_and_counts_have_no_fingerprint() {
        let reason = OutReason::Rejected(Reason::Invalid);
        let out = AccountOut::new(AccountTag::new("a", 1, 1), 1, reason, None, Duration::MAX);
        let dead = PoolDead::new(1, out.clone(), None);
        let counted = Coalesced::new(Event::RequestFailed(record()), 3, Duration::from_secs(60));
        assert_eq!(Fingerprint::of(&Event::AccountOut(out)), None);
        assert_eq!(Fingerprint::of(&Event::PoolDead(dead)), None);
        assert_eq!(Fingerprint::of(&Event::Coalesced(counted)), None);
    }

    #[test]
    fn resource_is_the_first_segment_that_is_no_version() {
        for (path, should) in [
            ("/videos/42", "videos"),
            ("/v1/videos/42", "videos"),
            ("/v1beta/models/m:generate", "models"),
            ("//videos//", "videos"),
            ("/v/42", "v"),
            ("/v1", ""),
            ("/", ""),
            ("", ""),
            ("*", "*"),
        ] {
            assert_eq!(resource(path), should, "{path}");
        }
    }
}
