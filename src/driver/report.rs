//! What is said of a request when it is over.

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

/// The caller's own id for a request.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The upstream's id for a request, as vendors name it.
static UPSTREAM_IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-amzn-requestid"),
];

/// What became of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Failed,
    Recovered,
    Abandoned,
}

/// The request that is told of.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) snapshot: Option<&'a Snapshot>,
    pub(crate) label: Option<&'a Arc<str>>,
    pub(crate) started: Option<Instant>,
    pub(crate) secrets: Secrets<'a>,
}

/// What must not stand in what others wrote.
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

pub(crate) fn is_authorized(head: &request::Parts) -> bool {
    head.headers.contains_key(AUTHORIZATION)
}

pub(crate) fn upstream_request_id(headers: &HeaderMap, secrets: Secrets<'_>) -> Option<Box<str>> {
    let id = UPSTREAM_IDS.iter().find_map(|name| headers.get(name))?;
    Some(foreign(&String::from_utf8_lossy(id.as_bytes()), &secrets))
}

pub(crate) fn error_text<E: 'static>(
    classifier: &Classifier,
    error: &E,
    secrets: Secrets<'_>,
) -> Box<str> {
    foreign(&classifier.describe(error), &secrets)
}

/// Keeps secrets out of a line that a driver below wrote, which may know of no pool.
pub(crate) fn redact(attempt: &mut Attempt, secrets: Secrets<'_>) {
    if secrets.0.is_empty() {
        return;
    }
    for text in [&mut attempt.error, &mut attempt.upstream_request_id].into_iter().flatten() {
        *text = foreign(text, &secrets);
    }
}

/// Tells of the request.
pub(crate) fn report_request(
    reporter: &ReporterHandle,
    asked: &Subject<'_>,
    trail: Vec<Attempt>,
    outcome: Outcome,
    kind: Kind,
) {
    if reporter.is_none() {
        return;
    }
    let method = asked.snapshot.map_or(Method::GET, Snapshot::method);
    let path = asked.snapshot.map(Snapshot::path).unwrap_or_default();
    let mut record = RequestRecord::new(method, foreign(path, &asked.secrets), outcome);
    let id = asked.snapshot.and_then(|kept| kept.header(&REQUEST_ID));
    record.request_id = id.map(|id| foreign(id, &asked.secrets));
    record.label = asked.label.cloned();
    record.sent = !trail.is_empty();
    record.trail = trail;
    record.elapsed = asked.started.map_or(Duration::ZERO, |started| started.elapsed());
    reporter.report(&match kind {
        Kind::Failed => Event::RequestFailed(record),
        Kind::Recovered => Event::RequestRecovered(record),
        Kind::Abandoned => Event::RequestAbandoned(record),
    });
}
