//! The future of a request: it waits and reports, and decides nothing.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{
    attempt::{Act, NextAttempt, await_credential, follow_up},
    classify::{Judged, classify_body, classify_error, classify_head, classify_unready},
    exchange::Exchange,
    outcome::{Awaiting, Held},
    service::{Readiness, Shared},
};
use crate::{
    answer::local,
    body::{FailoverBody, Keep, Peek, Spare, Started},
    classify::{Cause, Verdict},
    clock::Sleep,
    pool::ChangeWait,
    stage::Stage,
};

/// The response future of every layer of this crate.
///
/// # Cancel safety
///
/// It may be dropped at any point: an account that was only probed gives its slot back, counts and
/// locks are right, and what was learned stays learned. A request that is dropped after a failed
/// attempt is told as [abandoned](crate::Event::RequestAbandoned).
///
/// The [first page](crate) has examples of services that return it.
#[pin_project]
pub struct ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>>,
    St: Stage,
    K: Keep<B>,
    RB: Body,
{
    // The order matters: the inner future goes first, and what it leaves behind is told after.
    #[pin]
    pub(crate) state: State<S::Future, K::Fill, RB, S::Error>,
    pub(crate) next_attempt: Option<Box<NextAttempt<S, K::Out>>>,
    pub(crate) kept: Option<K::Kept>,
    pub(crate) exchange: Exchange<S, St, K>,
}

#[pin_project(project = StateProj, project_replace = StateOwned)]
pub(crate) enum State<F, Fi, RB: Body, E> {
    /// An attempt is in flight.
    Calling(#[pin] F),
    /// The request's body is being awaited, before the first attempt.
    Filling(Box<Fi>),
    /// The beginning of an error body is being read.
    Peeking(Box<Peek<RB>>),
    /// The time for the next attempt has not come.
    Waiting(Sleep),
    /// The next attempt waits for its service to be ready.
    Readying,
    /// A credential for the next attempt is awaited.
    Renewing(ChangeWait),
    /// A refused credential is being replaced, and its answer is held.
    Awaiting(Box<Awaiting<RB, E>>),
    /// Nothing was sent, for this reason; whether the answer is to be gRPC.
    Local(Cause, bool),
    Done,
}

impl<S, St, K, B, RB> ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body,
{
    #[inline]
    pub(crate) fn start(
        inner: &mut S,
        shared: &Arc<Shared<S, St, K>>,
        ready: &mut Readiness,
        request: Request<B>,
    ) -> Self {
        let readied = std::mem::replace(ready, Readiness::Unasked);
        let (mut head, body) = request.into_parts();
        if readied == Readiness::Nobody {
            if let Some(refused) = Self::answer_locally(shared, &head) {
                return refused;
            }
        }
        let mut exchange = Exchange::begin(shared, &head, false);
        let keep = &shared.config.keep;
        let started = match exchange.scratch.barred {
            None => keep.start(body),
            Some(why) => Started::Ready(keep.once(body), Err(why)),
        };
        let (body, kept) = match started {
            Started::Ready(body, kept) => (body, kept),
            Started::Fill(fill) => {
                return Self::fill(exchange, inner, (readied, ready), head, fill);
            }
        };
        let kept = kept.map_err(|why| exchange.scratch.barred = Some(why)).ok();
        let bytes = || keep.bytes(kept.as_ref()?);
        exchange.announce_model_source(&bytes);
        let mut admitted = exchange.reserve(&head, &bytes, false);
        if admitted.is_ok() && readied != Readiness::Nobody {
            admitted = exchange.prepare(&mut head, true);
        }
        match (admitted, readied) {
            (Ok(()), Readiness::Inner | Readiness::Unasked) => Self {
                state: State::Calling(inner.call(Request::from_parts(head, body))),
                next_attempt: None,
                kept,
                exchange,
            },
            // It is prepared when there is a service to send it with.
            (Ok(()), Readiness::Nobody) => {
                let request = Request::from_parts(head, body);
                let next_attempt = shared.spare().map(|service| NextAttempt::new(service, request));
                Self { state: State::Readying, next_attempt, kept, exchange }
            }
            (Err(cause), _) if cause.is_under_way() => {
                let request = Request::from_parts(head, body);
                Self::renew(exchange, inner, (readied, ready), (request, kept), cause)
            }
            (Err(cause), _) => {
                readied.keep(ready);
                let state = State::Local(cause, local::wants_grpc(&head));
                Self { state, next_attempt: None, kept, exchange }
            }
        }
    }
}

impl<S, St, K, B, RB> Future for ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body<Data = Bytes>,
{
    type Output = Result<Response<FailoverBody<RB>>, S::Error>;

    #[allow(clippy::too_many_lines)] // One arm for each state; the arms are short.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let mut again = None;
            let outcome = match this.state.as_mut().project() {
                StateProj::Calling(call) => match ready!(call.poll(cx)) {
                    Ok(answer) => {
                        let (head, body) = answer.into_parts();
                        if this.exchange.shared.config.common.classifier.succeeds(&head) {
                            let answer = this
                                .exchange
                                .succeed(head, |in_flight| FailoverBody::upstream(body, in_flight));
                            this.state.set(State::Done);
                            return Poll::Ready(Ok(answer));
                        }
                        // What an inner driver writes is complete only when it is gone.
                        this.state.set(State::Done);
                        match classify_head(this.exchange, head, body) {
                            Judged::Verdict(held, verdict) => (held, verdict),
                            Judged::Peek(peek) => {
                                this.state.set(State::Peeking(peek));
                                continue;
                            }
                        }
                    }
                    Err(error) => {
                        this.state.set(State::Done);
                        classify_error(this.exchange, error)
                    }
                },
                StateProj::Peeking(peek) => {
                    ready!(peek.poll(cx));
                    match this.state.as_mut().project_replace(State::Done) {
                        StateOwned::Peeking(peek) => classify_body(this.exchange, *peek),
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Waiting(sleep) => {
                    ready!(Pin::new(sleep).poll(cx));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProj::Filling(fill) => {
                    let shared = this.exchange.shared.clone();
                    let (body, kept) = ready!(shared.config.keep.poll_fill(fill, cx));
                    *this.kept = kept.map_err(|why| this.exchange.scratch.barred = Some(why)).ok();
                    let Some(next_attempt) = this.next_attempt else { return Poll::Pending };
                    let kept = &*this.kept;
                    let bytes = || shared.config.keep.bytes(kept.as_ref()?);
                    let next = match next_attempt.fill(this.exchange, body, &bytes) {
                        Ok(()) => State::Readying,
                        Err(why) => State::unsent(this.exchange, this.next_attempt, why),
                    };
                    this.state.set(next);
                    continue;
                }
                StateProj::Renewing(news) => {
                    let next = ready!(Pin::new(news).poll(cx));
                    let shared = this.exchange.shared.clone();
                    let Some(next_attempt) = this.next_attempt else { return Poll::Pending };
                    let kept = &*this.kept;
                    let bytes = || shared.config.keep.bytes(kept.as_ref()?);
                    let next = match next_attempt.reserve(this.exchange, &bytes, next.is_none()) {
                        Ok(()) => State::Readying,
                        Err((cause, grpc)) => match next.filter(|_| cause.is_under_way()) {
                            Some(news) => State::Renewing(news),
                            None => State::Local(cause, grpc),
                        },
                    };
                    this.state.set(next);
                    continue;
                }
                StateProj::Awaiting(awaiting) => {
                    let next = ready!(Pin::new(&mut awaiting.news).poll(cx));
                    match this.state.as_mut().project_replace(State::Done) {
                        StateOwned::Awaiting(awaiting) => {
                            let Awaiting { held, verdict, mut heard, .. } = *awaiting;
                            (heard.over, heard.next) = (next.is_none(), next);
                            again = Some(heard);
                            (held, verdict)
                        }
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Readying => {
                    let Some(next_attempt) = this.next_attempt else { return Poll::Pending };
                    let polled = next_attempt.service.poll_ready(cx);
                    next_attempt.waited |= polled.is_pending();
                    match ready!(polled) {
                        Ok(()) => {
                            let next = match next_attempt.send(this.exchange) {
                                Ok(call) => State::Calling(call),
                                // It became impossible while it waited.
                                Err(why) => State::unsent(this.exchange, this.next_attempt, why),
                            };
                            this.state.set(next);
                            continue;
                        }
                        Err(error) => {
                            // Such a service is not to be used again.
                            this.state.set(State::Done);
                            *this.next_attempt = None;
                            classify_unready(this.exchange, error)
                        }
                    }
                }
                StateProj::Local(cause, grpc) => {
                    let (cause, grpc) = (*cause, *grpc);
                    this.state.set(State::Done);
                    (Held::Local(cause, grpc), Verdict::from(cause))
                }
                StateProj::Done => return Poll::Pending,
            };
            match follow_up(this.exchange, this.kept, this.next_attempt, outcome, again) {
                Act::Done(outcome) => return Poll::Ready(outcome),
                Act::Wait(sleep) => this.state.set(State::Waiting(sleep)),
                Act::Ready => this.state.set(State::Readying),
                Act::Await(awaiting) => this.state.set(State::Awaiting(awaiting)),
            }
        }
    }
}

impl<F, Fi, RB: Body, E> State<F, Fi, RB, E> {
    /// After an attempt that could not be made: a credential that is on its way is awaited.
    #[cold]
    fn unsent<S, St: Stage, K: Spare<S>, B>(
        exchange: &Exchange<S, St, K>,
        next_attempt: &mut Option<Box<NextAttempt<S, B>>>,
        (cause, grpc): (Cause, bool),
    ) -> Self {
        match await_credential(exchange, next_attempt.as_mut(), &cause) {
            Some(news) => Self::Renewing(news),
            None => Self::Local(cause, grpc),
        }
    }
}

impl<S, St, K, B, RB> fmt::Debug for ResponseFuture<S, St, K, B, RB>
where
    S: Service<Request<K::Out>>,
    St: Stage,
    K: Keep<B>,
    RB: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling(_) => "calling",
            State::Filling(_) => "awaiting the request's body",
            State::Peeking(_) => "reading an error body",
            State::Waiting(_) => "waiting",
            State::Readying => "readying",
            State::Renewing(_) | State::Awaiting(_) => "awaiting a credential",
            State::Local(..) => "answering",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
