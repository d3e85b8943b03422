//! The verdict on the outcome of an attempt.

use bytes::Bytes;
use http::response::Parts;
use http_body::Body;

use super::{
    config::Settings,
    outcome::{Failure, Outcome},
};
use crate::{
    body::{FailoverBody, Peek},
    classify::{Cause, Verdict},
    clock,
};

/// Classifies an answer by its head; `None` where its body must be read first.
#[cold]
pub(crate) fn classify_head(common: &Settings, head: &Parts) -> Option<Verdict> {
    // A layer of this crate below has classified it already.
    let below = head.extensions.get::<Cause>().map(|cause| Verdict::from(*cause));
    below.or_else(|| common.classifier.head(head, clock::wall))
}

/// Classifies an answer by its head and the beginning of its body.
#[cold]
pub(crate) fn classify_body<RB, E>(common: &Settings, peek: Peek<RB>) -> Failure<RB, E>
where
    RB: Body<Data = Bytes>,
{
    let (head, text, body) = peek.into_parts();
    let verdict = common.classifier.body(&head, &text, clock::wall());
    Failure::new(Outcome::Answer(head, FailoverBody::peeked(body)), verdict)
}

/// Classifies an error of the inner service.
#[cold]
pub(crate) fn classify_error<RB: Body, E: 'static>(common: &Settings, error: E) -> Failure<RB, E> {
    let verdict = common.classifier.error(&error);
    Failure::new(Outcome::Error(error), verdict)
}

/// Classifies an error of `poll_ready` of a service for a further attempt: nothing was sent.
#[cold]
pub(crate) fn classify_unready<RB: Body, E: 'static>(
    common: &Settings,
    error: E,
) -> Failure<RB, E> {
    let mut failure = classify_error(common, error);
    if matches!(failure.verdict, Verdict::Transient { .. }) {
        failure.verdict = Verdict::unavailable().with_delay(failure.verdict.delay());
    }
    failure
}
