//! The questions to a stage and its answers; no attempt starts past the deadline or beyond the limits.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, request::Parts};
use tokio::time::Instant;

use super::{ledger::Ledger, model::ModelLookup, options::RequestOptions};
use crate::{
    classify::{Cause, Verdict},
    clock::Now,
    pool::{
        Pool,
        lease::{InFlight, Lease},
    },
    report::NotResent,
};

/// A stage's answer to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing; the next stage further out decides.
    Pass,
    /// Sends again with another account, which was reserved.
    Rotate,
    /// Sends again with a newer credential of the same account.
    Replay,
    /// Sends again with another model.
    FallBack,
    /// Sends again after this wait, for a reason other than the credential.
    Retry(Duration),
}

/// The credential that a `TokenRotation` put on an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) pool: u32,
    pub(crate) account: u32,
    pub(crate) id: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) probe: bool,
}

impl Stamp {
    /// Returns the stamp of a leased account of this pool.
    pub(crate) fn new(pool: &Pool, lease: &Lease) -> Self {
        Self {
            pool: pool.id(),
            account: lease.uid(),
            id: lease.id().clone(),
            generation: lease.generation(),
            probe: lease.is_probe(),
        }
    }
}

/// The model and account that the stages have chosen for one attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chosen<'a> {
    /// The model that the attempt names in place of the caller's.
    pub(crate) model: Option<&'a Arc<str>>,
    /// The pool that one more attempt would need an account of.
    pub(crate) pool: Option<&'a Pool>,
    /// The account of that pool that the attempt uses.
    pub(crate) lease: Option<&'a Lease>,
}

impl Chosen<'_> {
    /// Returns this choice, completed by that of a stage further out.
    #[inline]
    pub(crate) fn or(self, outer: Self) -> Self {
        Self {
            model: outer.model.or(self.model),
            pool: self.pool.or(outer.pool),
            lease: self.lease.or(outer.lease),
        }
    }

    /// Returns the credential that was put on the attempt.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        Some(Stamp::new(self.pool?, self.lease?))
    }

    /// Returns the guard that must live as long as the body of the answer.
    #[inline]
    pub(crate) fn in_flight(&self) -> Option<InFlight> {
        self.lease.and_then(Lease::in_flight_guard)
    }
}

/// One attempt before it is sent.
#[derive(Debug)]
pub(crate) struct Draft<'a, 'w> {
    pub(crate) head: &'a mut Parts,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: &'a mut ModelLookup<'w>,
    /// The credential that a rotation further out put on the request.
    pub(crate) outer: Option<&'a Stamp>,
    /// The credential that this driver's own rotation put on it.
    pub(crate) put: Option<Stamp>,
    /// This driver's own rotation has just checked that the credential may be sent.
    pub(crate) verified: bool,
    /// A layer further in may need the account and generation of the credential.
    pub(crate) wants_stamp: bool,
}

impl Draft<'_, '_> {
    /// Returns the account and generation of the credential on the request.
    pub(crate) fn stamp(&self) -> Option<&Stamp> {
        self.put.as_ref().or(self.outer)
    }
}

impl<'w> Draft<'_, 'w> {
    /// Returns the question for another account of this attempt.
    pub(crate) fn ask(&mut self) -> Ask<'_, 'w> {
        Ask {
            options: self.options,
            ledger: self.ledger,
            now: self.now,
            model: self.model,
            at: None,
            last: false,
        }
    }
}

/// The question for an account, before there is an attempt.
#[derive(Debug)]
pub(crate) struct Ask<'a, 'w> {
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: &'a mut ModelLookup<'w>,
    /// The time at which the attempt will start; `None` is at once.
    pub(crate) at: Option<Instant>,
    /// The request no longer waits for a token source.
    pub(crate) last: bool,
}

/// The facts of a successful attempt.
#[derive(Debug)]
pub(crate) struct Success<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// A rotation further in sent a credential of its own, and has recorded the success.
    pub(crate) charged: bool,
}

/// The facts of a failed attempt, and what the stages conclude from them.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts.
pub(crate) struct Facts<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) status: Option<StatusCode>,
    /// A layer of this crate further in made the answer: nothing was sent.
    pub(crate) local: bool,
    /// The local answer rejects the credential on the request, which was not sent.
    pub(crate) unsent: bool,
    /// A rotation further in has already applied this verdict to its account.
    pub(crate) charged: bool,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: ModelLookup<'a>,
    pub(crate) deadline: Option<Instant>,
    /// Doing the work twice is harmless.
    pub(crate) repeatable: bool,
    /// The reason why no stage may send again, if there is one.
    pub(crate) barred: Option<NotResent>,
    /// The request no longer waits for a token source.
    pub(crate) last: bool,
    /// Returns a random number from 0 to 1, for jitter.
    pub(crate) random: fn() -> f64,
    /// The time until an account can serve again, if a rotation found none now.
    pub(crate) available_in: Option<Duration>,
    /// The cause if no account can serve because a token source fails: it is newer than the rejection.
    pub(crate) not_ready: Option<Cause>,
    /// The reason for the trail if the request is not sent again; the last stage that declined set it.
    pub(crate) not_resent: NotResent,
}

impl<'a> Facts<'a> {
    /// Builds the facts of a verdict about which nothing else is known.
    pub(crate) const fn of(verdict: Verdict, now: &'a mut Now, model: ModelLookup<'a>) -> Self {
        Self {
            verdict,
            status: None,
            local: false,
            unsent: false,
            charged: false,
            options: None,
            ledger: None,
            now,
            model,
            deadline: None,
            repeatable: false,
            barred: None,
            last: false,
            random: || 0.0,
            available_in: None,
            not_ready: None,
            not_resent: NotResent::Final,
        }
    }

    /// Returns the question for the next attempt, which starts at `at`, or at once.
    pub(crate) fn ask(&mut self, at: Option<Instant>) -> Ask<'_, 'a> {
        Ask {
            options: self.options,
            ledger: self.ledger,
            now: self.now,
            model: &mut self.model,
            at,
            last: self.last,
        }
    }
}

impl Facts<'_> {
    /// Returns whether any stage may send again, and sets the reason for the trail if not.
    pub(crate) fn may_act(&mut self) -> bool {
        match self.barred {
            Some(reason) => {
                self.not_resent = reason;
                false
            }
            None => true,
        }
    }

    /// Returns whether an attempt that starts after `wait` would start after the deadline.
    pub(crate) fn is_past_deadline(&mut self, wait: Duration) -> bool {
        match self.deadline {
            Some(deadline) => self.now.get().checked_add(wait).is_none_or(|start| start > deadline),
            None => false,
        }
    }

    /// Declines to send again, with the reason for the trail.
    pub(crate) fn decline(&mut self, not_resent: NotResent) -> Next {
        self.not_resent = not_resent;
        Next::Pass
    }
}
