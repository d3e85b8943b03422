//! What a driver holds between an outcome and what follows it.

use http::{Response, StatusCode, response};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    body::FailoverBody,
    classify::{Cause, Verdict},
    clock::Sleep,
    pool::{ChangeWait, lease::Paused},
    stage::{InnerOutcome, Stamp},
};

/// The newest outcome, held until the next attempt is reserved.
pub(crate) enum Held<B: Body, E> {
    Answer(response::Parts, FailoverBody<B>),
    Error(E),
    /// Nothing was sent; whether the answer is to be gRPC.
    Local(Cause, bool),
}

/// How many attempts were made for an answer, by layers that could not find the ledger of those
/// further out: somebody between them made the request anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent(pub(crate) u32);

/// What follows an outcome.
pub(crate) enum Settled<B: Body, E, N> {
    /// It goes out.
    Done(Result<Response<FailoverBody<B>>, E>),
    /// The request is sent again, after this wait, with what was built for it.
    Again(Option<Sleep>, N),
    /// Nothing is decided before a token source has answered.
    Await(Box<Awaiting<B, E>>),
}

/// An outcome that is held until a token source has answered.
pub(crate) struct Awaiting<B: Body, E> {
    pub(crate) held: Held<B, E>,
    pub(crate) verdict: Verdict,
    pub(crate) heard: Heard,
    pub(crate) news: ChangeWait,
}

/// What was learned from an outcome.
pub(crate) struct Heard {
    pub(crate) note: Option<InnerOutcome>,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) in_flight: Option<Paused>,
    /// When a token source was first waited for.
    pub(crate) since: Option<Instant>,
    /// What comes after the news that were waited for; nothing when the time is up.
    pub(crate) next: Option<ChangeWait>,
    /// It is not waited for any longer.
    pub(crate) over: bool,
}

impl<B: Body, E> Held<B, E> {
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Answer(head, _) => head.extensions.get().copied(),
            Self::Local(cause, _) => Some(*cause),
            Self::Error(_) => None,
        }
    }

    pub(crate) fn take_spent(&mut self) -> Option<Spent> {
        match self {
            Self::Answer(head, _) => head.extensions.remove(),
            Self::Error(_) | Self::Local(..) => None,
        }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(head, _) => Some(head.status),
            Self::Error(_) | Self::Local(..) => None,
        }
    }
}
