//! The future of a request: it waits and reports, and decides nothing.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE, request};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{
    body::FailoverBody,
    judge::{Judged, judge_body, judge_error, judge_head},
    keep::{Keep, Spare},
    local,
    nap::Nap,
    peek::Peek,
    run::Run,
    service::{Live, Readied},
    settle::{Held, Settled},
};
use crate::{
    classify::{Cause, Verdict},
    stage::stage::Stage,
};

/// The response future of every layer of this crate.
///
/// # Cancel safety
///
/// It may be dropped at any point: an account that was only probed gives its slot back, counts and
/// locks are right, and what was learned stays learned. A request that is dropped after a failed
/// attempt is told as [abandoned](crate::report::Event::RequestAbandoned).
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
    state: State<S::Future, RB>,
    cold: Option<Box<ColdOf<S, K, B>>>,
    kept: Option<K::Kept>,
    run: Run<S, St, K>,
}

type ColdOf<S, K, B> = Cold<S, <K as Keep<B>>::Out>;

/// What only a request needs that is sent again.
struct Cold<S, B> {
    service: S,
    request: Option<Request<B>>,
}

#[pin_project(project = StateProj, project_replace = StateOwned)]
enum State<F, RB: Body> {
    /// An attempt is in flight.
    Calling(#[pin] F),
    /// The beginning of an error body is being read.
    Peeking(Box<Peek<RB>>),
    /// The time for the next attempt has not come.
    Waiting(Nap),
    /// The next attempt waits for its service to be ready.
    Readying,
    /// The answer is this crate's own.
    Local(Cause, bool),
    Done,
}

impl<F, RB: Body> State<F, RB> {
    fn local(cause: Cause, head: &request::Parts) -> Self {
        let content_type = head.headers.get(CONTENT_TYPE);
        Self::Local(cause, local::is_grpc(content_type.map(HeaderValue::as_bytes)))
    }
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
        live: &Arc<Live<S, St, K>>,
        readied: Readied,
        request: Request<B>,
    ) -> Self {
        let (mut head, body) = request.into_parts();
        let mut run = Run::begin(live, &head);
        let keep = &live.config.keep;
        let (body, kept) = if run.resendable { keep.start(body) } else { (keep.once(body), None) };
        run.resendable = kept.is_some();
        let mut admitted = run.reserve();
        if admitted.is_ok() && readied == Readied::Inner {
            admitted = run.prepare(&mut head, true);
        }
        let mut cold = None;
        let state = match (admitted, readied) {
            (Err(cause), _) => State::local(cause, &head),
            (Ok(()), Readied::Inner) => State::Calling(inner.call(Request::from_parts(head, body))),
            // It is prepared when there is a service to send it with.
            (Ok(()), Readied::Nobody) => {
                let request = Some(Request::from_parts(head, body));
                cold = live.spare().map(|service| Box::new(Cold { service, request }));
                State::Readying
            }
        };
        Self { state, cold, kept, run }
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
            let outcome = match this.state.as_mut().project() {
                StateProj::Calling(call) => match ready!(call.poll(cx)) {
                    Ok(answer) => {
                        let (head, body) = answer.into_parts();
                        if this.run.live.config.common.classifier.succeeds(&head) {
                            let answer = this.run.succeed(head, FailoverBody::upstream(body));
                            this.state.set(State::Done);
                            return Poll::Ready(Ok(answer));
                        }
                        // What an inner driver writes is complete only when it is gone.
                        this.state.set(State::Done);
                        match judge_head(this.run, head, body) {
                            Judged::Verdict(held, verdict) => (held, verdict),
                            Judged::Peek(peek) => {
                                this.state.set(State::Peeking(peek));
                                continue;
                            }
                        }
                    }
                    Err(error) => {
                        this.state.set(State::Done);
                        judge_error(this.run, error)
                    }
                },
                StateProj::Peeking(peek) => {
                    ready!(peek.poll(cx));
                    match this.state.as_mut().project_replace(State::Done) {
                        StateOwned::Peeking(peek) => judge_body(this.run, *peek),
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Waiting(nap) => {
                    ready!(Pin::new(nap).poll(cx));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProj::Readying => {
                    let Some(cold) = this.cold else { return Poll::Pending };
                    match ready!(cold.service.poll_ready(cx)) {
                        Ok(()) => {
                            let next = cold.send(this.run);
                            this.state.set(next);
                            continue;
                        }
                        Err(error) => {
                            // Such a service is not to be used again.
                            this.state.set(State::Done);
                            *this.cold = None;
                            judge_error(this.run, error)
                        }
                    }
                }
                StateProj::Local(cause, grpc) => {
                    let (cause, grpc) = (*cause, *grpc);
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(this.run.answer(&cause, grpc)));
                }
                StateProj::Done => return Poll::Pending,
            };
            match act(this.run, this.kept.as_ref(), this.cold, outcome) {
                Act::Done(outcome) => return Poll::Ready(outcome),
                Act::Wait(nap) => this.state.set(State::Waiting(nap)),
                Act::Ready => this.state.set(State::Readying),
            }
        }
    }
}

enum Act<RB: Body, E> {
    Done(Result<Response<FailoverBody<RB>>, E>),
    Wait(Nap),
    Ready,
}

#[cold]
fn act<S, St, K, B, RB>(
    run: &mut Run<S, St, K>,
    kept: Option<&K::Kept>,
    cold: &mut Option<Box<ColdOf<S, K, B>>>,
    (held, verdict): (Held<RB, S::Error>, Verdict),
) -> Act<RB, S::Error>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
    RB: Body<Data = Bytes>,
{
    if verdict.is_success() {
        return Act::Done(match held {
            Held::Answer(head, body) => Ok(run.succeed(head, body)),
            Held::Error(error) => Err(error),
        });
    }
    let live = run.live.clone();
    let settled = run.settle(held, verdict, |run| {
        let body = live.config.keep.again(kept?)?;
        let request = Request::from_parts(run.rebuild()?, body);
        let service = match cold.take() {
            Some(cold) => cold.service,
            None => live.spare()?,
        };
        Some(Box::new(Cold { service, request: Some(request) }))
    });
    match settled {
        Settled::Done(outcome) => Act::Done(outcome),
        Settled::Again(nap, next) => {
            *cold = Some(next);
            nap.map_or(Act::Ready, Act::Wait)
        }
    }
}

impl<S, B> Cold<S, B> {
    /// Sends the next attempt on the service, which is ready.
    fn send<St, K, RB>(&mut self, run: &mut Run<S, St, K>) -> State<S::Future, RB>
    where
        S: Service<Request<B>, Response = Response<RB>>,
        St: Stage,
        RB: Body,
    {
        let Some(request) = self.request.take() else { return State::Done };
        let (mut head, body) = request.into_parts();
        match run.prepare(&mut head, false) {
            Ok(()) => State::Calling(self.service.call(Request::from_parts(head, body))),
            // It became impossible while it waited.
            Err(cause) => State::local(cause, &head),
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
            State::Peeking(_) => "reading an error body",
            State::Waiting(_) => "waiting",
            State::Readying => "readying",
            State::Local(..) => "answering",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
