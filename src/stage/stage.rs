//! What a stage is, and how two of them compose.

use std::{fmt::Debug, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, request::Parts};
use tokio::time::Instant;

use super::{ledger::Ledger, options::RequestOptions};
use crate::{
    classify::{Cause, Verdict},
    clock::Now,
    credential::{InFlight, Pool},
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
    /// Send again with what was reserved.
    Again,
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

/// One attempt before it is sent.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(crate) head: &'a mut Parts,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    /// The credential on the request: put there by an outer rotation, then by this driver's own.
    pub(crate) stamp: Option<Stamp>,
    /// This driver's own rotation has just seen that the stamp is good.
    pub(crate) verified: bool,
    /// Somebody below may want to know whose credential it is.
    pub(crate) wants_stamp: bool,
}

/// What is asked for before there is an attempt to look at.
#[derive(Debug)]
pub struct Ask<'a> {
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    /// When the attempt will start, when that is not at once.
    pub(crate) at: Option<Instant>,
}

/// What is known after an attempt.
#[derive(Debug)]
pub struct Facts<'a> {
    pub(crate) verdict: Verdict,
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The answer was made by a layer of this crate below: nothing was sent for it.
    pub(crate) local: bool,
    /// The local answer is about the credential on the request, which was not sent.
    pub(crate) unsent: bool,
    /// A rotation below has already taken the blame for this verdict.
    pub(crate) charged: bool,
    pub(crate) options: Option<&'a RequestOptions>,
    pub(crate) ledger: Option<&'a Ledger>,
    pub(crate) now: &'a mut Now,
    pub(crate) deadline: Option<Instant>,
    /// Whether doing the work twice is harmless.
    pub(crate) repeatable: bool,
    /// Why nothing may be sent again, whoever asks.
    pub(crate) barred: Option<NotResent>,
    /// A number from 0 to 1, for whoever leaves something to chance.
    pub(crate) random: f64,
    /// After how long some account may serve again, when a rotation found none now.
    pub(crate) soonest: Option<Duration>,
    /// Why it was not sent again, as the last stage that had an opinion sees it.
    pub(crate) why: NotResent,
}

impl<'a> Facts<'a> {
    /// Nothing but a verdict.
    pub(crate) const fn of(verdict: Verdict, now: &'a mut Now) -> Self {
        Self {
            verdict,
            status: None,
            headers: None,
            local: false,
            unsent: false,
            charged: false,
            options: None,
            ledger: None,
            now,
            deadline: None,
            repeatable: false,
            barred: None,
            random: 0.0,
            soonest: None,
            why: NotResent::Final,
        }
    }
}

impl Facts<'_> {
    /// Whether sending again is allowed at all; when not, the reason is kept for the trail.
    pub(crate) fn may_act(&mut self) -> bool {
        match self.barred {
            Some(why) => {
                self.why = why;
                false
            }
            None => true,
        }
    }

    /// Whether an attempt that starts after `wait` would start after the deadline.
    pub(crate) fn beyond_deadline(&mut self, wait: Duration) -> bool {
        match self.deadline {
            Some(deadline) => self.now.get().checked_add(wait).is_none_or(|start| start > deadline),
            None => false,
        }
    }

    /// Declines, with the reason for the trail.
    pub(crate) fn decline(&mut self, why: NotResent) -> Next {
        self.why = why;
        Next::Pass
    }
}

/// One layer's pure core: it decides, and never waits, calls or reads a clock of its own.
///
/// Before an attempt the stages are walked from the outside in ([`reserve`](Stage::reserve),
/// [`prepare`](Stage::prepare)); after a verdict from the inside out ([`learn`](Stage::learn),
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
    fn surely_dead(&self) -> bool {
        false
    }

    /// Chooses what the next attempt will use. On failure nothing has been taken.
    fn reserve(&self, _: &mut Self::State, _: &mut Ask<'_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Puts what was chosen on the attempt, which is sent at once.
    fn prepare(&self, _: &mut Self::State, _: &mut Draft<'_>) -> Result<(), Cause> {
        Ok(())
    }

    /// Takes note of a verdict; asked once for each attempt, successes included.
    fn learn(&self, _: &mut Self::State, _: &mut Facts<'_>) {}

    /// Says what to do after a failure.
    fn next(&self, _: &mut Self::State, _: &mut Facts<'_>) -> Next {
        Next::Pass
    }

    /// The credential that this stage has put on the attempt.
    fn stamp(&self, _: &Self::State) -> Option<Stamp> {
        None
    }

    /// The pool that one more attempt would need an account of.
    fn pool<'a>(&'a self, _: &Self::State) -> Option<&'a Pool> {
        None
    }

    /// What must live as long as the response's body.
    fn in_flight(&self, _: &Self::State) -> Option<InFlight> {
        None
    }

    /// What this stage asked for in its last [`next`](Stage::next) does not happen.
    fn cancel(&self, _: &mut Self::State) {}

    /// A stage outside this one acted: start anew.
    fn reset(&self, _: &mut Self::State) {}
}

impl sealed::Sealed for () {}

impl Stage for () {
    type State = ();

    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) {}
}

impl<A: sealed::Sealed, B: sealed::Sealed> sealed::Sealed for (A, B) {}

/// The outer stage first. This is the whole law of composition.
///
/// Pairs nest to the right, `(outermost, (next, (.., innermost)))`: the first of a pair is never a
/// pair itself, so [`cancel`](Stage::cancel) always reaches the very stage that asked.
impl<A: Stage, B: Stage> Stage for (A, B) {
    type State = (A::State, B::State);

    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State {
        (self.0.begin(head, options, stamp), self.1.begin(head, options, stamp))
    }

    fn may_resend(&self) -> bool {
        self.0.may_resend() || self.1.may_resend()
    }

    fn surely_dead(&self) -> bool {
        self.0.surely_dead() || self.1.surely_dead()
    }

    #[inline]
    fn reserve(&self, st: &mut Self::State, ask: &mut Ask<'_>) -> Result<(), Cause> {
        self.0.reserve(&mut st.0, ask)?;
        self.1.reserve(&mut st.1, ask)
    }

    #[inline]
    fn prepare(&self, st: &mut Self::State, draft: &mut Draft<'_>) -> Result<(), Cause> {
        self.0.prepare(&mut st.0, draft)?;
        self.1.prepare(&mut st.1, draft)
    }

    #[inline]
    fn learn(&self, st: &mut Self::State, facts: &mut Facts<'_>) {
        self.1.learn(&mut st.1, facts);
        self.0.learn(&mut st.0, facts);
    }

    fn stamp(&self, st: &Self::State) -> Option<Stamp> {
        self.1.stamp(&st.1).or_else(|| self.0.stamp(&st.0))
    }

    fn pool<'a>(&'a self, st: &Self::State) -> Option<&'a Pool> {
        self.1.pool(&st.1).or_else(|| self.0.pool(&st.0))
    }

    #[inline]
    fn in_flight(&self, st: &Self::State) -> Option<InFlight> {
        self.1.in_flight(&st.1).or_else(|| self.0.in_flight(&st.0))
    }

    fn next(&self, st: &mut Self::State, facts: &mut Facts<'_>) -> Next {
        let inner = self.1.next(&mut st.1, facts);
        if inner != Next::Pass {
            return inner;
        }
        let outer = self.0.next(&mut st.0, facts);
        let at = match outer {
            Next::Pass => return Next::Pass,
            Next::Again => None,
            Next::After(wait) => facts.now.get().checked_add(wait),
        };
        self.1.reset(&mut st.1);
        let mut ask = Ask { options: facts.options, ledger: facts.ledger, now: facts.now, at };
        match self.1.reserve(&mut st.1, &mut ask) {
            Ok(()) => outer,
            // The outer stage wanted to, and nobody inside can serve: the held answer goes out.
            Err(_) => {
                self.0.cancel(&mut st.0);
                facts.decline(NotResent::NoAccount)
            }
        }
    }

    /// Only stages that wait have something to cancel, and there is one of them.
    fn cancel(&self, st: &mut Self::State) {
        self.0.cancel(&mut st.0);
        self.1.cancel(&mut st.1);
    }

    fn reset(&self, st: &mut Self::State) {
        self.0.reset(&mut st.0);
        self.1.reset(&mut st.1);
    }
}

impl<A: sealed::Sealed> sealed::Sealed for Option<A> {}

/// A slot of the fused stack: one type, chosen at run time.
impl<A: Stage> Stage for Option<A> {
    type State = Option<A::State>;

    fn begin(
        &self,
        head: &Parts,
        options: Option<&RequestOptions>,
        stamp: Option<&Stamp>,
    ) -> Self::State {
        self.as_ref().map(|stage| stage.begin(head, options, stamp))
    }

    fn may_resend(&self) -> bool {
        self.as_ref().is_some_and(Stage::may_resend)
    }

    fn surely_dead(&self) -> bool {
        self.as_ref().is_some_and(Stage::surely_dead)
    }

    #[inline]
    fn reserve(&self, st: &mut Self::State, ask: &mut Ask<'_>) -> Result<(), Cause> {
        match (self, st) {
            (Some(stage), Some(st)) => stage.reserve(st, ask),
            _ => Ok(()),
        }
    }

    #[inline]
    fn prepare(&self, st: &mut Self::State, draft: &mut Draft<'_>) -> Result<(), Cause> {
        match (self, st) {
            (Some(stage), Some(st)) => stage.prepare(st, draft),
            _ => Ok(()),
        }
    }

    #[inline]
    fn learn(&self, st: &mut Self::State, facts: &mut Facts<'_>) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.learn(st, facts);
        }
    }

    fn next(&self, st: &mut Self::State, facts: &mut Facts<'_>) -> Next {
        match (self, st) {
            (Some(stage), Some(st)) => stage.next(st, facts),
            _ => Next::Pass,
        }
    }

    fn stamp(&self, st: &Self::State) -> Option<Stamp> {
        self.as_ref()?.stamp(st.as_ref()?)
    }

    fn pool<'a>(&'a self, st: &Self::State) -> Option<&'a Pool> {
        self.as_ref()?.pool(st.as_ref()?)
    }

    #[inline]
    fn in_flight(&self, st: &Self::State) -> Option<InFlight> {
        self.as_ref()?.in_flight(st.as_ref()?)
    }

    fn cancel(&self, st: &mut Self::State) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.cancel(st);
        }
    }

    fn reset(&self, st: &mut Self::State) {
        if let (Some(stage), Some(st)) = (self, st) {
            stage.reset(st);
        }
    }
}
