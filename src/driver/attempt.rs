//! From a verdict to the next attempt, or to the end.

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    exchange::{Exchange, GetBytes},
    outcome::{Awaiting, Heard, Held, Settled},
};
use crate::{
    answer::local,
    body::{FailoverBody, Keep, Spare},
    classify::{Cause, Code, Verdict},
    clock::Sleep,
    pool::ChangeWait,
    stage::{Stage, model::Rewritten},
};

/// What only a request needs that is not simply sent: a service of its own, and what it will send.
pub(crate) struct NextAttempt<S, B> {
    pub(crate) service: S,
    head: Option<request::Parts>,
    body: Option<B>,
    /// It is not the first attempt, which the deadline never forbids.
    again: bool,
    /// Time has passed since it was decided on.
    pub(crate) waited: bool,
    /// When a credential for it was first waited for.
    since: Option<Instant>,
}

impl<S, B> NextAttempt<S, B> {
    pub(crate) fn new(service: S, request: Request<B>) -> Box<Self> {
        let (head, body) = request.into_parts();
        Box::new(Self { head: Some(head), body: Some(body), ..Self::with(service) })
    }

    /// Without a body yet.
    pub(crate) fn awaiting(service: S, head: request::Parts) -> Box<Self> {
        Box::new(Self { head: Some(head), ..Self::with(service) })
    }

    const fn with(service: S) -> Self {
        Self { service, head: None, body: None, again: false, waited: false, since: None }
    }

    /// The body has come: chooses what the first attempt will use. Or says why it cannot be made,
    /// and whether the answer is to be gRPC.
    pub(crate) fn fill<St: Stage, K>(
        &mut self,
        exchange: &mut Exchange<S, St, K>,
        body: B,
        bytes: GetBytes<'_>,
    ) -> Result<(), (Cause, bool)> {
        self.body = Some(body);
        exchange.announce_model_source(bytes);
        self.reserve(exchange, bytes, false)
    }

    /// Chooses what the next attempt will use, after a wait; `last` says that there is no other. Or says why it cannot be made, and
    /// whether the answer is to be gRPC.
    pub(crate) fn reserve<St: Stage, K>(
        &mut self,
        exchange: &mut Exchange<S, St, K>,
        bytes: GetBytes<'_>,
        last: bool,
    ) -> Result<(), (Cause, bool)> {
        self.waited = true;
        exchange.waited();
        let Some(head) = &self.head else { return Ok(()) };
        exchange.reserve(head, bytes, last).map_err(|cause| (cause, local::wants_grpc(head)))
    }

    /// Sends the next attempt on the service, which is ready; or says why it became impossible, and
    /// whether the answer is to be gRPC.
    pub(crate) fn send<St: Stage, K>(
        &mut self,
        exchange: &mut Exchange<S, St, K>,
    ) -> Result<S::Future, (Cause, bool)>
    where
        S: Service<Request<B>>,
    {
        let (Some(mut head), Some(body)) = (self.head.take(), self.body.take()) else {
            debug_assert!(false, "nothing to send");
            return Err((Cause::local(Code::NotReady), false));
        };
        if self.again && self.waited && exchange.is_late() {
            let cause = Cause::local(Code::DeadlineExceeded);
            return Err((cause, local::wants_grpc(&head)));
        }
        match exchange.prepare(&mut head, false) {
            Ok(()) => Ok(self.service.call(Request::from_parts(head, body))),
            Err(cause) => {
                let grpc = local::wants_grpc(&head);
                // It may be sent yet.
                (self.head, self.body) = (Some(head), Some(body));
                Err((cause, grpc))
            }
        }
    }
}

/// What a request waits for that cannot be sent for this reason: `None` if that does not go away.
///
/// What its service has set aside, being ready, is for others meanwhile: whoever asks for the
/// credential may need it.
#[cold]
pub(crate) fn await_credential<S, B, St: Stage, K: Spare<S>>(
    exchange: &Exchange<S, St, K>,
    next_attempt: Option<&mut Box<NextAttempt<S, B>>>,
    cause: &Cause,
) -> Option<ChangeWait> {
    let next_attempt = next_attempt.filter(|_| cause.is_under_way())?;
    let pool = exchange.shared.config.stages.pool(&exchange.st)?;
    next_attempt.service = exchange.shared.spare()?;
    Some(pool.wait_for_change(&mut next_attempt.since, exchange.deadline()))
}

/// What comes next.
pub(crate) enum Act<RB: Body, E> {
    Done(Result<Response<FailoverBody<RB>>, E>),
    Wait(Sleep),
    Ready,
    Await(Box<Awaiting<RB, E>>),
}

#[cold]
pub(crate) fn follow_up<S, St, K, B, RB>(
    exchange: &mut Exchange<S, St, K>,
    kept: &mut Option<K::Kept>,
    next_attempt: &mut Option<Box<NextAttempt<S, K::Out>>>,
    (held, verdict): (Held<RB, S::Error>, Verdict),
    heard: Option<Heard>,
) -> Act<RB, S::Error>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body<Data = Bytes>,
{
    let shared = exchange.shared.clone();
    match held {
        Held::Answer(head, body) if verdict.is_success() => {
            return Act::Done(Ok(
                exchange.succeed(head, |in_flight| body.with_in_flight(in_flight))
            ));
        }
        // Only another model could do anything about it, and about this no other does.
        Held::Local(cause, grpc)
            if shared.config.common.model_at.is_none() || verdict.is_unauthorized() =>
        {
            return Act::Done(Ok(exchange.answer(&cause, grpc, false)));
        }
        _ => {}
    }
    let keep = &shared.config.keep;
    let mut moved = None;
    let settled = {
        let kept = &*kept;
        let bytes = || keep.bytes(kept.as_ref()?);
        let moved = &mut moved;
        exchange.decide(held, verdict, heard, &bytes, |exchange, last| {
            let mut head = exchange.rebuild(last)?;
            let body = match exchange.rewrite(&mut head, &bytes)? {
                Rewritten::Body(bytes) => Some(keep.edited(kept.as_ref()?, bytes)?),
                // Whoever has not read the model yet may want to after the last attempt.
                Rewritten::SameBody if last && !exchange.may_read_body() => {
                    *moved = Some(());
                    None
                }
                Rewritten::SameBody => Some(keep.again(kept.as_ref()?)?),
            };
            let service = match next_attempt.take() {
                Some(next_attempt) => next_attempt.service,
                None => shared.spare()?,
            };
            Some(Box::new(NextAttempt {
                head: Some(head),
                body,
                again: true,
                ..NextAttempt::with(service)
            }))
        })
    };
    match settled {
        Settled::Done(outcome) => Act::Done(outcome),
        Settled::Await(awaiting) => Act::Await(awaiting),
        Settled::Again(sleep, mut next) => {
            // The last attempt takes what was kept.
            if moved.is_some() {
                next.body = kept.take().and_then(|kept| keep.last(kept));
            }
            next.waited = sleep.is_some();
            *next_attempt = Some(next);
            sleep.map_or(Act::Ready, Act::Wait)
        }
    }
}
