//! The outcome of an attempt (an answer, an error or a local answer), and the facts known of it.

use http::{StatusCode, response};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    body::FailoverBody,
    classify::{Cause, Origin, Verdict},
    pool::{ChangeWait, lease::Paused},
    stage::{InnerOutcome, Stamp},
};

/// The newest outcome of a request.
pub(crate) enum Outcome<B: Body, E> {
    Answer(response::Parts, FailoverBody<B>),
    Error(E),
    /// Nothing was sent; the flag says whether the local answer is to be gRPC.
    Local(Cause, bool),
}

/// The number of attempts made for an answer, in the answer's extensions.
///
/// For layers further out that do not share the ledger, because a service between them made the
/// request anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent(pub(crate) u32);

/// An outcome that a status or an error calls a failure, its verdict, and the facts learned so far.
pub(crate) struct Failure<B: Body, E> {
    pub(crate) outcome: Outcome<B, E>,
    pub(crate) verdict: Verdict,
    /// The outcome that a driver below has noted.
    pub(crate) inner: Option<InnerOutcome>,
    /// The credential that was put on the attempt.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) in_flight: Option<Paused>,
    /// When a token source was first waited for.
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) renewal: Renewal,
}

/// The progress of the wait for a newer credential of the rejected account.
pub(crate) enum Renewal {
    /// The stages have not learned from the failure yet.
    Unasked,
    /// The pool has changed; the next change may be waited for.
    Changed(ChangeWait),
    /// The wait is over: the stages choose among the credentials that are there.
    Over,
}

impl<B: Body, E> Failure<B, E> {
    /// An outcome that nothing was learned from yet.
    pub(crate) const fn new(outcome: Outcome<B, E>, verdict: Verdict) -> Self {
        Self {
            outcome,
            verdict,
            inner: None,
            stamp: None,
            in_flight: None,
            waiting_since: None,
            renewal: Renewal::Unasked,
        }
    }

    /// Returns whether the stages have yet to learn from it.
    pub(crate) const fn is_new(&self) -> bool {
        matches!(self.renewal, Renewal::Unasked)
    }

    /// Returns whether the answer was made by this crate, in this driver or below.
    pub(crate) fn is_local(&self) -> bool {
        let cause = match &self.outcome {
            Outcome::Answer(head, _) => head.extensions.get(),
            Outcome::Local(cause, _) => Some(cause),
            Outcome::Error(_) => None,
        };
        cause.is_some_and(|cause| cause.origin == Origin::Local)
    }

    /// Returns whether a local answer below has taken the place of an attempt's answer.
    pub(crate) fn is_instead(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.instead)
    }

    /// Returns whether a driver below has kept back the credential on the request.
    pub(crate) fn is_unsent(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.unsent)
    }

    /// Removes the number of attempts that layers below have made.
    pub(crate) fn take_spent(&mut self) -> Option<Spent> {
        match &mut self.outcome {
            Outcome::Answer(head, _) => head.extensions.remove(),
            Outcome::Error(_) | Outcome::Local(..) => None,
        }
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        match &self.outcome {
            Outcome::Answer(head, _) => Some(head.status),
            Outcome::Error(_) | Outcome::Local(..) => None,
        }
    }
}
