//! The report of a request that has ended.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method, header::AUTHORIZATION, request};
use tokio::time::Instant;

use super::scratch::Snapshot;
use crate::{
    classify::Classifier,
    pool::Pool,
    report::{
        Attempt, Event, Outcome, ReporterHandle, RequestRecord,
        text::{Filter, Redact, foreign},
    },
};

/// The header with the caller's id of a request.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The headers with the upstream's id of a request, by vendor.
static UPSTREAM_IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-amzn-requestid"),
];

/// The event that is reported for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Failed,
    Recovered,
    Abandoned,
}

/// The request that is reported.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(crate) label: Option<&'a Arc<str>>,
    pub(crate) started: Option<Instant>,
    pub(crate) secrets: Secrets<'a>,
}

/// The secrets that are redacted in texts of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secrets<'a>(pub(crate) &'a [Pool]);

impl Redact for Secrets<'_> {
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|pool| pool.visit_secrets(f));
    }

    fn too_many(&self) -> bool {
        self.0.iter().any(Pool::too_many_secrets)
    }

    fn filter(&self) -> Option<Arc<Filter>> {
        match self.0 {
            [pool] => pool.filter(),
            _ => None,
        }
    }
}

/// Returns whether a request has a credential in its `Authorization` header.
pub(crate) fn is_authorized(head: &request::Parts) -> bool {
    head.headers.contains_key(AUTHORIZATION)
}

/// Returns the upstream's id of a request, redacted.
pub(crate) fn upstream_request_id(headers: &HeaderMap, secrets: Secrets<'_>) -> Option<Box<str>> {
    let id = UPSTREAM_IDS.iter().find_map(|name| headers.get(name))?;
    Some(foreign(&String::from_utf8_lossy(id.as_bytes()), &secrets))
}

/// Returns the text of an error and its sources, redacted.
pub(crate) fn error_text<E: 'static>(
    classifier: &Classifier,
    error: &E,
    secrets: Secrets<'_>,
) -> Box<str> {
    foreign(&classifier.describe(error), &secrets)
}

/// Redacts an attempt that a driver below wrote: that driver may have no pool.
pub(crate) fn redact(attempt: &mut Attempt, secrets: Secrets<'_>) {
    if secrets.0.is_empty() {
        return;
    }
    for text in [&mut attempt.error, &mut attempt.upstream_request_id].into_iter().flatten() {
        *text = foreign(text, &secrets);
    }
}

/// Builds the event of a request and reports it.
pub(crate) fn report_request(
    reporter: &ReporterHandle,
    subject: &Subject<'_>,
    trail: Vec<Attempt>,
    outcome: Outcome,
    kind: Kind,
) {
    if reporter.is_none() {
        return;
    }
    let method = subject.snapshot.map_or(Method::GET, Snapshot::method);
    let path = subject.snapshot.map(Snapshot::path).unwrap_or_default();
    let mut record = RequestRecord::new(method, foreign(path, &subject.secrets), outcome);
    let id = subject.snapshot.and_then(|kept| kept.header(&REQUEST_ID));
    record.request_id = id.map(|id| foreign(id, &subject.secrets));
    record.label = subject.label.cloned();
    record.sent = !trail.is_empty();
    record.trail = trail;
    record.elapsed = subject.started.map_or(Duration::ZERO, |started| started.elapsed());
    reporter.report(&match kind {
        Kind::Failed => Event::RequestFailed(record),
        Kind::Recovered => Event::RequestRecovered(record),
        Kind::Abandoned => Event::RequestAbandoned(record),
    });
}
