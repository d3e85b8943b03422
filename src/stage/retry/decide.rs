//! Whether to retry, and after which wait: not above `max_wait`, past the deadline or over the budget.

use std::time::Duration;

use http::request::Parts;

use super::{
    budget::Cost,
    policy::{RetryPolicy, Settings},
    session::Session,
};
use crate::{
    classify::{Cause, ModelFault, Verdict},
    report::NotResent,
    stage::{
        Draft, Facts, Next, RequestOptions, Stage, Stamp, Success, resend::could_duplicate_work,
    },
};

/// The facts on which the decision is based.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryQuery {
    pub(crate) verdict: Verdict,
    /// Doing the work twice is harmless.
    pub(crate) repeatable: bool,
    /// The time until an account can serve again, if none can now.
    pub(crate) available_in: Option<Duration>,
    /// Returns a random number from 0 to 1.
    pub(crate) random: fn() -> f64,
}

impl Settings {
    fn applies_to(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Transient { .. } | Verdict::Limited { .. } => true,
            Verdict::ModelFault { fault: ModelFault::Overloaded, .. } => {
                self.overloaded.unwrap_or(true)
            }
            _ => false,
        }
    }

    /// Returns the wait before a retry, or the reason against one. Takes nothing from the budget.
    pub(crate) fn decide(
        &self,
        session: &Session,
        query: &RetryQuery,
    ) -> Result<Duration, NotResent> {
        if !self.applies_to(&query.verdict) {
            return Err(NotResent::Final);
        }
        let unwanted = self.idempotent_only && !query.repeatable;
        if unwanted || could_duplicate_work(&query.verdict, query.repeatable) {
            return Err(NotResent::PerhapsDone);
        }
        if session.retries() >= self.retries {
            return Err(NotResent::Retries);
        }
        let wanted = query.verdict.delay().max(query.available_in);
        if wanted.is_some_and(|wanted| wanted > self.max_wait) {
            return Err(NotResent::WaitTooLong);
        }
        let backoff = self.backoff.delay(session.retries().saturating_add(1), (query.random)());
        Ok(backoff.max(wanted.unwrap_or_default()))
    }

    /// Pays for a retry from the budget.
    pub(crate) fn withdraw(
        &self,
        session: &mut Session,
        verdict: &Verdict,
    ) -> Result<(), NotResent> {
        let cost = match verdict {
            Verdict::Transient { timeout: true, .. } => Cost::Timeout,
            Verdict::Limited { .. } => Cost::Limited,
            _ => Cost::Retry,
        };
        session.note_paid(self.budget.withdraw(cost).ok_or(NotResent::Budget)?);
        Ok(())
    }

    /// Returns the price of a retry to the budget, if it was not sent.
    fn refund(&self, session: &mut Session) {
        if let Some(price) = session.take_refund() {
            self.budget.refund(price);
        }
    }

    pub(crate) fn note_success(&self, session: &Session) {
        self.budget.succeeded(session.last_price());
    }
}

impl Stage for RetryPolicy {
    type State = Session;

    #[inline]
    fn begin(&self, _: &Parts, _: Option<&RequestOptions>, _: Option<&Stamp>) -> Session {
        Session::default()
    }

    fn may_resend(&self) -> bool {
        self.settings.retries > 0
    }

    #[inline]
    fn prepare(&self, session: &mut Session, _: &mut Draft<'_, '_>) -> Result<(), Cause> {
        session.note_sent();
        Ok(())
    }

    #[inline]
    fn note_success(&self, session: &mut Session, _: &Success<'_>) {
        self.settings.note_success(session);
    }

    fn next(&self, session: &mut Session, facts: &mut Facts<'_>) -> Next {
        // A local answer is final: nothing was sent, and it carries its own delay.
        if facts.local || !self.settings.applies_to(&facts.verdict) {
            return Next::Pass;
        }
        if facts.options.is_some_and(RequestOptions::forbids_retry) {
            return facts.decline(NotResent::OptedOut);
        }
        let query = RetryQuery {
            verdict: facts.verdict,
            repeatable: facts.repeatable,
            available_in: facts.available_in,
            random: facts.random,
        };
        let wait = match self.settings.decide(session, &query) {
            Ok(wait) => wait,
            Err(why) => return facts.decline(why),
        };
        if !facts.may_act() {
            return Next::Pass;
        }
        if facts.is_past_deadline(wait) {
            return facts.decline(NotResent::Deadline);
        }
        match self.settings.withdraw(session, &facts.verdict) {
            Ok(()) => Next::Retry(wait),
            Err(why) => facts.decline(why),
        }
    }

    fn cancel(&self, session: &mut Session) {
        self.settings.refund(session);
    }

    fn reset(&self, session: &mut Session) {
        *session = Session::default();
    }
}
