//! From an outcome to its verdict.

use bytes::Bytes;
use http::response;
use http_body::Body;

use super::{exchange::Exchange, outcome::Held};
use crate::{
    body::{FailoverBody, Peek},
    classify::{Cause, Verdict},
    clock,
    stage::Stage,
};

/// What an answer's head says.
pub(crate) enum Judged<RB: Body, E> {
    Verdict(Held<RB, E>, Verdict),
    /// The body must be read first.
    Peek(Box<Peek<RB>>),
}

#[cold]
pub(crate) fn classify_head<S, St: Stage, K, RB, E>(
    exchange: &Exchange<S, St, K>,
    head: response::Parts,
    body: RB,
) -> Judged<RB, E>
where
    RB: Body<Data = Bytes>,
{
    let config = &exchange.shared.config.common;
    // A layer of this crate below has said what it means.
    let said = head.extensions.get::<Cause>().map(|cause| Verdict::from(*cause));
    match said.or_else(|| config.classifier.head(&head, clock::wall)) {
        Some(verdict) => {
            Judged::Verdict(Held::Answer(head, FailoverBody::upstream(body, None)), verdict)
        }
        None => Judged::Peek(Box::new(Peek::new(head, body, config.peek))),
    }
}

#[cold]
pub(crate) fn classify_body<S, St: Stage, K, RB, E>(
    exchange: &Exchange<S, St, K>,
    peek: Peek<RB>,
) -> (Held<RB, E>, Verdict)
where
    RB: Body<Data = Bytes>,
{
    let (head, text, body) = peek.into_parts();
    let verdict = exchange.shared.config.common.classifier.body(&head, &text, clock::wall());
    (Held::Answer(head, FailoverBody::peeked(body)), verdict)
}

#[cold]
pub(crate) fn classify_error<S, St: Stage, K, RB, E>(
    exchange: &Exchange<S, St, K>,
    error: E,
) -> (Held<RB, E>, Verdict)
where
    RB: Body,
    E: 'static,
{
    let verdict = exchange.shared.config.common.classifier.error(&error);
    (Held::Error(error), verdict)
}

/// The service for the next attempt failed before it was called: nothing was sent.
#[cold]
pub(crate) fn classify_unready<S, St: Stage, K, RB, E>(
    exchange: &Exchange<S, St, K>,
    error: E,
) -> (Held<RB, E>, Verdict)
where
    RB: Body,
    E: 'static,
{
    let (held, verdict) = classify_error(exchange, error);
    let refused = Verdict::unavailable().with_delay(verdict.delay());
    (held, if matches!(verdict, Verdict::Transient { .. }) { refused } else { verdict })
}
