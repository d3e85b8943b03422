//! The future of a request: it polls the state that the request is in, and enters the next one.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{
    attempt::{Attempts, NextAttempt, Upload},
    classify::{classify_body, classify_error, classify_head, classify_unready},
    outcome::{Failure, Outcome, Renewal},
    state::{Phase, State, StateProj, Step},
};
use crate::{
    body::{FailoverBody, Keep, Peek, Spare},
    classify::{Cause, Code, Verdict},
    pool::ChangeWait,
    stage::Stage,
};

/// The response future of every layer of this crate.
///
/// # Runtime
///
/// Waits before a retry, for an error body and for a credential need a tokio runtime with
/// [`enable_time`](tokio::runtime::Builder::enable_time). Without one the outcome goes out instead of
/// a retry with a wait, and only the part of an error body that is there at once is read. The first
/// wait in a runtime without a timer costs one caught panic; the layer keeps the answer for a minute.
///
/// # Cancel safety
///
/// It may be dropped at any point: a probe gives its slot back, counts stay right, and evidence
/// about accounts is kept. A request that is dropped after a failed attempt is reported as
/// [abandoned](crate::Event::RequestAbandoned).
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
    // Dropped first: the inner future notes its outcome on drop, and the exchange reports after it.
    #[pin]
    pub(crate) state: State<S, K, B, RB>,
    pub(crate) attempts: Attempts<S, St, K, B>,
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

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let step = match this.state.as_mut().project() {
                StateProj::Calling(call) => {
                    match ready!(call.poll(cx)) {
                        Ok(answer) => {
                            let (head, body) = answer.into_parts();
                            let exchange = &mut this.attempts.exchange;
                            if exchange.common().classifier.succeeds(&head) {
                                let answer = exchange.succeed(head, |in_flight| {
                                    FailoverBody::upstream(body, in_flight)
                                });
                                this.state.set(State::Between(Phase::Done));
                                return Poll::Ready(Ok(answer));
                            }
                            // The notes of an inner driver are complete when it is dropped.
                            this.state.set(State::Between(Phase::Done));
                            this.attempts.classify(head, body)
                        }
                        Err(error) => {
                            this.state.set(State::Between(Phase::Done));
                            let failure = classify_error(this.attempts.exchange.common(), error);
                            this.attempts.follow(failure)
                        }
                    }
                }
                StateProj::Between(phase) => phase.take().poll(this.attempts, cx),
            };
            match step {
                Step::Enter(state) => this.state.set(state),
                Step::Pending(phase) => {
                    this.state.set(State::Between(phase));
                    return Poll::Pending;
                }
                Step::Done(outcome) => return Poll::Ready(outcome),
            }
        }
    }
}

impl<S, K, B, RB> Phase<S, K, B, RB>
where
    S: Service<Request<K::Out>, Response = Response<RB>>,
    S::Error: 'static,
    K: Keep<B> + Spare<S>,
    RB: Body<Data = Bytes>,
{
    /// Polls the phase, and goes on when its wait is over.
    #[cold]
    fn poll<St: Stage>(
        self,
        attempts: &mut Attempts<S, St, K, B>,
        cx: &mut Context<'_>,
    ) -> Step<S, K, B, RB> {
        match self {
            Self::Uploading(upload) => attempts.poll_upload(upload, cx),
            Self::Renewing(change, attempt) => attempts.poll_renewal(change, attempt, cx),
            Self::Sleeping(mut sleep, attempt) => match Pin::new(&mut sleep).poll(cx) {
                Poll::Ready(()) => Self::Readying(attempt).into(),
                Poll::Pending => Step::Pending(Self::Sleeping(sleep, attempt)),
            },
            Self::Readying(attempt) => attempts.poll_service(attempt, cx),
            Self::Peeking(mut peek) => match peek.poll(cx) {
                Poll::Ready(()) => {
                    let failure = classify_body(attempts.exchange.common(), *peek);
                    attempts.follow(failure)
                }
                Poll::Pending => Step::Pending(Self::Peeking(peek)),
            },
            Self::Holding(change, failure) => attempts.poll_held(change, failure, cx),
            Self::Local(cause, grpc) => {
                let verdict = Verdict::from(cause);
                attempts.follow(Failure::new(Outcome::Local(cause, grpc), verdict))
            }
            Self::Done => {
                debug_assert!(false, "a response future is polled after its end");
                Step::Pending(Self::Done)
            }
        }
    }
}

impl<S, St, K, B> Attempts<S, St, K, B>
where
    S: Service<Request<K::Out>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
{
    /// Classifies an answer by its head, or begins to read its body.
    #[cold]
    fn classify<RB>(&mut self, head: response::Parts, body: RB) -> Step<S, K, B, RB>
    where
        S: Service<Request<K::Out>, Response = Response<RB>>,
        RB: Body<Data = Bytes>,
    {
        let common = self.exchange.common();
        if let Some(verdict) = classify_head(common, &head) {
            let body = FailoverBody::upstream(body, None);
            return self.follow(Failure::new(Outcome::Answer(head, body), verdict));
        }
        let timer = &self.exchange.common().timer;
        Phase::Peeking(Box::new(Peek::new(head, body, common.peek, timer))).into()
    }

    /// Polls the body of the request; when it is there, chooses an account for the first attempt.
    fn poll_upload<RB: Body>(
        &mut self,
        mut upload: Box<Upload<S, K::Fill>>,
        cx: &mut Context<'_>,
    ) -> Step<S, K, B, RB> {
        let shared = self.exchange.shared.clone();
        let Poll::Ready((body, kept)) = shared.config.keep.poll_fill(&mut upload.fill, cx) else {
            return Step::Pending(Phase::Uploading(upload));
        };
        self.kept = kept.map_err(|why| self.exchange.scratch.barred = Some(why)).ok();
        let Upload { service, head, .. } = *upload;
        let mut attempt = NextAttempt::first(service, head, body);
        let kept = &self.kept;
        self.exchange.announce_model_source(&|| shared.config.keep.bytes(kept.as_ref()?));
        match self.reserve(&mut attempt, false) {
            Ok(()) => Phase::Readying(attempt).into(),
            Err(cause) => self.unsent(attempt, cause).into(),
        }
    }

    /// Polls for changes of the pool; after one, chooses an account for the attempt again.
    fn poll_renewal<RB: Body>(
        &mut self,
        mut change: Box<ChangeWait>,
        mut attempt: Box<NextAttempt<S, K::Out>>,
        cx: &mut Context<'_>,
    ) -> Step<S, K, B, RB> {
        let Poll::Ready(next) = Pin::new(&mut *change).poll(cx) else {
            return Step::Pending(Phase::Renewing(change, attempt));
        };
        match (self.reserve(&mut attempt, next.is_none()), next) {
            (Ok(()), _) => Phase::Readying(attempt).into(),
            (Err(cause), Some(change)) if cause.is_under_way() => {
                Phase::Renewing(Box::new(change), attempt).into()
            }
            (Err(cause), _) => self.answer_instead(*attempt, cause).into(),
        }
    }

    /// Polls the service of an attempt, and sends the attempt when it is ready.
    fn poll_service<RB>(
        &mut self,
        mut attempt: Box<NextAttempt<S, K::Out>>,
        cx: &mut Context<'_>,
    ) -> Step<S, K, B, RB>
    where
        S: Service<Request<K::Out>, Response = Response<RB>>,
        RB: Body<Data = Bytes>,
    {
        match attempt.service.poll_ready(cx) {
            Poll::Pending => {
                attempt.waited = true;
                Step::Pending(Phase::Readying(attempt))
            }
            Poll::Ready(Ok(())) => Step::Enter(self.send(attempt)),
            Poll::Ready(Err(error)) => {
                // A service that has failed must not be used again.
                drop(attempt);
                let failure = classify_unready(self.exchange.common(), error);
                self.follow(failure)
            }
        }
    }

    /// Polls for changes of the pool while a failure is held.
    fn poll_held<RB>(
        &mut self,
        mut change: Box<ChangeWait>,
        mut failure: Box<Failure<RB, S::Error>>,
        cx: &mut Context<'_>,
    ) -> Step<S, K, B, RB>
    where
        S: Service<Request<K::Out>, Response = Response<RB>>,
        RB: Body<Data = Bytes>,
    {
        let Poll::Ready(next) = Pin::new(&mut *change).poll(cx) else {
            return Step::Pending(Phase::Holding(change, failure));
        };
        failure.renewal = next.map_or(Renewal::Over, Renewal::Changed);
        self.follow(*failure)
    }

    /// Sends an attempt on its service, which is ready.
    fn send<RB: Body>(&mut self, mut attempt: Box<NextAttempt<S, K::Out>>) -> State<S, K, B, RB> {
        if attempt.is_late(&self.exchange) {
            let cause = Cause::local(Code::DeadlineExceeded);
            return State::Between(self.answer_instead(*attempt, cause));
        }
        match self.exchange.prepare(&mut attempt.head, false) {
            Ok(()) => {
                let NextAttempt { mut service, head, body, .. } = *attempt;
                let call = service.call(Request::from_parts(head, body));
                self.spare = Some(service);
                State::Calling(call)
            }
            Err(cause) => State::Between(self.unsent(attempt, cause)),
        }
    }

    /// Waits for the credential of an attempt that could not be sent, or answers in its place.
    #[cold]
    pub(crate) fn unsent<RB: Body>(
        &mut self,
        mut attempt: Box<NextAttempt<S, K::Out>>,
        cause: Cause,
    ) -> Phase<S, K, B, RB> {
        match attempt.await_credential(&self.exchange, &cause) {
            Some(change) => Phase::Renewing(Box::new(change), attempt),
            None => self.answer_instead(*attempt, cause),
        }
    }

    /// Answers locally in the place of an attempt; its service is kept for another one.
    fn answer_instead<RB: Body>(
        &mut self,
        attempt: NextAttempt<S, K::Out>,
        cause: Cause,
    ) -> Phase<S, K, B, RB> {
        let grpc = attempt.wants_grpc();
        self.spare = Some(attempt.service);
        Phase::Local(cause, grpc)
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
            State::Between(phase) => phase.name(),
        };
        f.debug_struct("ResponseFuture").field("state", &state).finish_non_exhaustive()
    }
}
