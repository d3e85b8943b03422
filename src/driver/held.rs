//! What a driver holds between an outcome and what follows it.

use http::{Response, StatusCode, response};
use http_body::Body;

use super::{body::FailoverBody, nap::Nap};
use crate::classify::Cause;

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
    Again(Option<Nap>, N),
}

impl<B: Body, E> Held<B, E> {
    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Answer(head, _) => head.extensions.get().copied(),
            Self::Local(cause, _) => Some(*cause),
            Self::Error(_) => None,
        }
    }

    pub(super) fn take_spent(&mut self) -> Option<Spent> {
        match self {
            Self::Answer(head, _) if !head.extensions.is_empty() => head.extensions.remove(),
            Self::Answer(..) | Self::Error(_) | Self::Local(..) => None,
        }
    }

    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(head, _) => Some(head.status),
            Self::Error(_) | Self::Local(..) => None,
        }
    }
}
