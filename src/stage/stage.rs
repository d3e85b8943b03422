//! What a stage is: what it is asked, and what it may answer.

use std::{fmt::Debug, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, request::Parts};
use tokio::time::Instant;

use super::{ledger::Ledger, model::ModelLookup, options::RequestOptions};
use crate::{
    classify::{Cause, Delivery, Verdict},
    clock::Now,
    pool::{
        Pool,
        lease::{InFlight, Lease},
    },
    report::NotResent,
};

pub(crate) mod sealed {
    /// Stages are this crate's own: the driver's promises rest on them.
    #[allow(unnameable_types)] // That is the point of it.
    pub trait Sealed {}
}

/// What a stage wants after a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: ask the next stage outward.
    Pass,
    /// Send again with the account that was reserved.
    Again,
    /// Send again with a newer credential of the same account.
    Replay,
    /// Send again with another model.
    FallBack,
    /// Send again after this wait.
    After(Duration),
}

/// The credential that a `TokenRotation` put on an attempt.
#[derive(Clone, Debug)]
pub struct Stamp {
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

/// What the stages have chosen for one attempt.
#[derive(Debug, Default)]
pub struct Chosen<'a> {
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
pub struct Draft<'a, 'w> {
    pub(crate) head: &'a mut Parts,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: &'a mut ModelLookup<'w>,
    /// The credential that an outer rotation put on the request.
    pub(crate) outer: Option<&'a Stamp>,
    /// The one that this driver's own rotation put there.
    pub(crate) put: Option<Stamp>,
    /// This driver's own rotation has just seen that the stamp is good.
    pub(crate) verified: bool,
    /// Somebody below may want to know whose credential it is.
    pub(crate) wants_stamp: bool,
}

impl Draft<'_, '_> {
    /// The credential on the request.
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

/// What is asked for before there is an attempt to look at.
#[derive(Debug)]
pub struct Ask<'a, 'w> {
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: &'a mut ModelLookup<'w>,
    /// When the attempt will start, when that is not at once.
    pub(crate) at: Option<Instant>,
    /// No token source is waited for any longer.
    pub(crate) last: bool,
}

/// What is known of an attempt that did what it was sent for.
#[derive(Debug)]
pub struct Success<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// A rotation below has sent its own credential, and has the credit.
    pub(crate) charged: bool,
}

/// What is known after a failed attempt.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Four facts that have nothing to do with each other.
pub struct Facts<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) status: Option<StatusCode>,
    /// The answer was made by a layer of this crate below: nothing was sent for it.
    pub(crate) local: bool,
    /// The local answer is about the credential on the request, which was not sent.
    pub(crate) unsent: bool,
    /// A rotation below has already taken the blame for this verdict.
    pub(crate) charged: bool,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) model: ModelLookup<'a>,
    pub(crate) deadline: Option<Instant>,
    /// Whether doing the work twice is harmless.
    pub(crate) repeatable: bool,
    /// Why nothing may be sent again, whoever asks.
    pub(crate) barred: Option<NotResent>,
    /// No token source is waited for any longer.
    pub(crate) last: bool,
    /// Numbers from 0 to 1, for whoever leaves something to chance.
    pub(crate) random: fn() -> f64,
    /// After how long some account may serve again, when a rotation found none now.
    pub(crate) available_in: Option<Duration>,
    /// Nobody can serve because a token source is down: that is newer than the refusal.
    pub(crate) not_ready: Option<Cause>,
    /// Why it was not sent again, as the last stage that had an opinion sees it.
    pub(crate) not_resent: NotResent,
}

impl<'a> Facts<'a> {
    /// Nothing but a verdict.
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
    /// Whether sending again is allowed at all; when not, the reason is kept for the trail.
    pub(crate) fn may_act(&mut self) -> bool {
        match self.barred {
            Some(reason) => {
                self.not_resent = reason;
                false
            }
            None => true,
        }
    }

    /// Whether sending again could do the work twice, and nobody has said that this is harmless.
    pub(crate) fn could_duplicate_work(&self) -> bool {
        self.verdict.delivery() == Delivery::PerhapsDone && !self.repeatable
    }

    /// Whether an attempt that starts after `wait` would start after the deadline.
    pub(crate) fn is_past_deadline(&mut self, wait: Duration) -> bool {
        match self.deadline {
            Some(deadline) => self.now.get().checked_add(wait).is_none_or(|start| start > deadline),
            None => false,
        }
    }

    /// Declines, with the reason for the trail.
    pub(crate) fn decline(&mut self, not_resent: NotResent) -> Next {
        self.not_resent = not_resent;
        Next::Pass
    }
}

/// One layer's pure core: it decides, and never waits, calls or reads a clock of its own.
///
/// Before an attempt the stages are walked from the outside in ([`reserve`](Stage::reserve),
/// [`prepare`](Stage::prepare)); after a verdict from the inside out ([`note_failure`](Stage::note_failure),
/// [`next`](Stage::next)). A stage that acts starts those inside it anew.
pub trait Stage: sealed::Sealed + Debug + Send + Sync + 'static {
    /// What is kept of one request.
    type State: Send + Sync + 'static;

    /// The state of a request that has just come in.
    ///
    /// `stamp` is the credential that a rotation further out put on it.
    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State;

    /// Whether this stage could ever ask for another attempt.
    fn may_resend(&self) -> bool {
        false
    }

    /// Whether every request is surely answered without the upstream now.
    fn is_unavailable(&self) -> bool {
        false
    }

    /// Chooses what the next attempt will use. On failure nothing has been taken.
    fn reserve(&self, _: &mut Self::State, _: &mut Ask<'_, '_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Puts what was chosen on the attempt, which is sent at once.
    fn prepare(&self, _: &mut Self::State, _: &mut Draft<'_, '_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Takes note of an attempt that did what it was sent for.
    fn note_success(&self, _: &mut Self::State, _: &Success<'_>) {}

    /// Takes note of a failure; asked once for each failed attempt.
    fn note_failure(&self, _: &mut Self::State, _: &mut Facts<'_>) {}

    /// Whether the account that was refused gets another credential soon: nothing is decided before.
    fn awaits_refresh(&self, _: &Self::State, _: &mut Facts<'_>) -> bool {
        false
    }

    /// Says what to do after a failure.
    fn next(&self, _: &mut Self::State, _: &mut Facts<'_>) -> Next {
        Next::Pass
    }

    /// Whether this stage puts credentials on requests.
    fn rotates(&self) -> bool {
        false
    }

    /// Returns what the stages have chosen for the attempt.
    #[inline]
    fn chosen<'a>(&'a self, _: &'a Self::State) -> Chosen<'a> {
        Chosen::default()
    }

    /// What this stage asked for in its last [`next`](Stage::next), if it has not been sent, does
    /// not happen.
    fn cancel(&self, _: &mut Self::State) {}

    /// A stage outside this one acted: start anew. Nothing to do for a gate, whose attempt is over by
    /// then, and for a fallback, which is the outermost of its driver.
    fn reset(&self, _: &mut Self::State) {}
}
