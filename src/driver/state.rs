//! The states of a request.

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::{
    attempt::{NextAttempt, Upload},
    outcome::Failure,
};
use crate::{
    body::{FailoverBody, Keep, Peek},
    classify::Cause,
    clock::Sleep,
    pool::ChangeWait,
};

/// The state of a response future. Each state owns the parts that it goes on with.
#[pin_project(project = StateProj)]
pub(crate) enum State<S, K, B, RB>
where
    S: Service<Request<K::Out>>,
    K: Keep<B>,
    RB: Body,
{
    /// An attempt is in flight.
    Calling(#[pin] S::Future),
    /// No attempt is in flight.
    Between(Phase<S, K, B, RB>),
}

/// The state of a request of which no attempt is in flight.
pub(crate) enum Phase<S, K, B, RB>
where
    S: Service<Request<K::Out>>,
    K: Keep<B>,
    RB: Body,
{
    /// The body of the request is read, before the first attempt.
    Uploading(Box<Upload<S, K::Fill>>),
    /// The next attempt waits for a credential.
    Renewing(Box<ChangeWait>, Box<NextAttempt<S, K::Out>>),
    /// The next attempt waits for its time.
    Sleeping(Sleep, Box<NextAttempt<S, K::Out>>),
    /// The next attempt waits for its service to be ready.
    Readying(Box<NextAttempt<S, K::Out>>),
    /// The beginning of an error body is read.
    Peeking(Box<Peek<RB>>),
    /// A failure is held while the credential that was rejected is renewed.
    Holding(Box<ChangeWait>, Box<Failure<RB, S::Error>>),
    /// Nothing was sent, for this cause; the flag says whether the answer is to be gRPC.
    Local(Cause, bool),
    /// The request is over.
    Done,
}

/// The result of polling a [`Phase`].
pub(crate) enum Step<S, K, B, RB>
where
    S: Service<Request<K::Out>>,
    K: Keep<B>,
    RB: Body,
{
    /// The request goes on in this state.
    Enter(State<S, K, B, RB>),
    /// The phase goes on when the task is woken.
    Pending(Phase<S, K, B, RB>),
    /// The request ends with this outcome.
    Done(Result<Response<FailoverBody<RB>>, S::Error>),
}

impl<S, K, B, RB> Phase<S, K, B, RB>
where
    S: Service<Request<K::Out>>,
    K: Keep<B>,
    RB: Body,
{
    /// Takes the phase out, to be polled by value.
    pub(crate) const fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Done)
    }

    /// Returns its name for `Debug`.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Uploading(_) => "awaiting the request's body",
            Self::Renewing(..) | Self::Holding(..) => "awaiting a credential",
            Self::Sleeping(..) => "waiting",
            Self::Readying(_) => "readying",
            Self::Peeking(_) => "reading an error body",
            Self::Local(..) => "answering",
            Self::Done => "done",
        }
    }
}

impl<S, K, B, RB> From<Phase<S, K, B, RB>> for Step<S, K, B, RB>
where
    S: Service<Request<K::Out>>,
    K: Keep<B>,
    RB: Body,
{
    fn from(phase: Phase<S, K, B, RB>) -> Self {
        Self::Enter(State::Between(phase))
    }
}
