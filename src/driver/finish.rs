//! The end of a request: its answer (`x-failover-auth`), its one report, and a drop (`abandoned`).

use http::{Extensions, Response, StatusCode, response};
use http_body::Body;

use super::{
    config::AuthFailureMode,
    exchange::Exchange,
    outcome::{Failure, Outcome, Spent},
    report,
};
use crate::{
    answer::{FAILOVER_AUTH, ServedBy, local},
    body::FailoverBody,
    classify::{Cause, Code, Origin, Reason, Verdict},
    pool::{
        Pool,
        lease::{InFlight, Paused},
    },
    report::Outcome as Reported,
    stage::{InnerOutcome, Ledger, RequestOptions, Stage, Stamp, Success},
};

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// Hands out an answer that is no failure.
    #[inline]
    pub(crate) fn succeed<B: Body>(
        &mut self,
        head: response::Parts,
        body: impl FnOnce(Option<InFlight>) -> FailoverBody<B>,
    ) -> Response<FailoverBody<B>> {
        let charged = self.is_credited();
        let success = Success { headers: &head.headers, charged };
        self.shared.config.stages.note_success(&mut self.st, &success);
        if self.scratch.ledger.is_some() {
            self.report_recovery(head.status);
        }
        self.scratch.done = true;
        let stages = &self.shared.config.stages;
        let in_flight = stages.chosen(&self.st).in_flight();
        let mut stamp = None;
        if self.common().served_by || self.scratch.parent != 0 {
            stamp = stages.chosen(&self.st).stamp().filter(|_| !charged);
            self.credit(charged || stamp.is_some());
        }
        self.hand_out(head, stamp, || body(in_flight))
    }

    /// Returns whether a rotation below has put its own credential on the attempt that succeeded.
    fn is_credited(&self) -> bool {
        let ledger = self.scratch.ledger.as_ref().filter(|_| self.scratch.send != 0);
        ledger
            .and_then(|ledger| ledger.take_inner_outcome(self.scratch.send))
            .is_some_and(|inner| inner.charged)
    }

    /// Notes for an outer rotation that its credential was not the one that was sent.
    fn credit(&self, replaced: bool) {
        let stamped = self.scratch.handoff.stamp.is_some();
        if let (true, true, Some(ledger)) = (replaced, stamped, &self.scratch.ledger) {
            ledger.put_inner_outcome(InnerOutcome::credit(self.scratch.parent));
        }
    }

    /// Reports, where that is asked for, a success after failures.
    fn report_recovery(&mut self, status: StatusCode) {
        let Some(ledger) = &self.scratch.ledger else { return };
        self.merge_trail(ledger);
        if self.common().recovered
            && self.reporter().is_some()
            && ledger.has_attempts(self.scratch.parent)
        {
            self.report(Reported::Answer(status), report::Kind::Recovered);
        }
    }

    /// Builds the answer for the caller; `stamp` is the credential that it was given for.
    #[inline]
    pub(crate) fn hand_out<B: Body>(
        &self,
        mut head: response::Parts,
        stamp: Option<Stamp>,
        body: impl FnOnce() -> FailoverBody<B>,
    ) -> Response<FailoverBody<B>> {
        if self.common().served_by {
            let below = head.extensions.remove::<ServedBy>();
            let taken = self.scratch.ledger.as_ref().map_or(1, |ledger| ledger.attempts());
            // An answer that a layer below has made was not sent.
            let local = head.extensions.get::<Cause>().is_some_and(|c| c.origin == Origin::Local);
            let attempts = if local { taken.saturating_sub(1) } else { taken };
            let model =
                self.shared.config.stages.chosen(&self.st).model.filter(|_| !local).cloned();
            head.extensions.insert(ServedBy::new(stamp, model, attempts).over(below));
        }
        Response::from_parts(head, body())
    }

    /// Answers locally; `instead` says that an attempt's answer has been given up for it.
    pub(crate) fn answer<B: Body>(
        &mut self,
        cause: &Cause,
        grpc: bool,
        instead: bool,
    ) -> Response<FailoverBody<B>> {
        self.scratch.done = true;
        self.report(Reported::Local(cause.code), report::Kind::Failed);
        if let (true, Some(ledger)) = (self.scratch.parent != 0, &self.scratch.ledger) {
            // Only a rotation reads it, for the credential that it has put on.
            let unsent = cause.code.is_about_a_credential() && !self.shared.config.stages.rotates();
            let available_in = cause.retry_after;
            let pools = Vec::new();
            ledger.put_inner_outcome(InnerOutcome {
                send: self.scratch.parent,
                available_in,
                charged: false,
                unsent,
                instead,
                pools,
            });
        }
        let (mut head, bytes) = self.shared.config.local.answer(cause, grpc).into_parts();
        if self.common().served_by {
            let sent = self
                .scratch
                .ledger
                .as_ref()
                .map_or(0, |ledger| ledger.attempts().saturating_sub(1));
            head.extensions.insert(ServedBy::new(None, None, sent));
        }
        Response::from_parts(head, FailoverBody::local(bytes))
    }

    /// Hands the outcome out as it is, and reports it.
    pub(crate) fn hand_out_failure<B: Body, E: 'static>(
        &mut self,
        failure: Failure<B, E>,
        ours: bool,
        pools: Vec<Pool>,
    ) -> Result<Response<FailoverBody<B>>, E> {
        let Failure { outcome, verdict, stamp, in_flight, .. } = failure;
        self.scratch.done = true;
        match outcome {
            Outcome::Local(cause, grpc) => Ok(self.answer(&cause, grpc, ours)),
            Outcome::Error(error) => {
                self.report_error(&error, pools);
                Err(error)
            }
            Outcome::Answer(mut head, mut body) => {
                self.add_spent(&mut head.extensions);
                let local = head.extensions.get::<Cause>().filter(|c| c.origin == Origin::Local);
                let local = local.map(|cause| Reported::Local(cause.code));
                if let (true, Verdict::Unauthorized(reason)) = (ours, verdict) {
                    let cause = rejection_cause(&pools, stamp.as_ref(), reason);
                    self.mark_rejection(cause, &mut head, &mut body);
                }
                // The report names what the caller gets: a layer further out sees nothing else.
                self.report(local.unwrap_or(Reported::Answer(head.status)), report::Kind::Failed);
                let in_flight = in_flight.map(Paused::resume);
                Ok(self.hand_out(head, stamp, || body.with_in_flight(in_flight)))
            }
        }
    }

    /// Reports a request that ends with an error.
    fn report_error<E: 'static>(&self, error: &E, mut pools: Vec<Pool>) {
        if self.reporter().is_none() {
            return;
        }
        let common = self.common();
        // The error may name secrets of the pools below, whether or not this driver has a pool.
        pools.extend(common.secrets.clone());
        let text = report::error_text(&common.classifier, error, report::Secrets(&pools));
        self.report(Reported::Error(text), report::Kind::Failed);
    }

    /// Adds the cause to an answer that rejects a credential of the pool, or replaces the answer.
    fn mark_rejection<B: Body>(
        &self,
        cause: Cause,
        head: &mut response::Parts,
        body: &mut FailoverBody<B>,
    ) {
        if self.common().mode == AuthFailureMode::Replace {
            let answer = self.shared.config.local.answer(&cause, self.is_grpc());
            let (made, bytes) = answer.into_parts();
            (*head, *body) = (made, FailoverBody::local(bytes));
        } else {
            head.headers.insert(FAILOVER_AUTH.clone(), local::failover_auth(cause.code));
            head.extensions.insert(cause);
        }
    }

    /// Adds the number of attempts, for layers further out that do not share the ledger.
    fn add_spent(&self, extensions: &mut Extensions) {
        let ledger = self.scratch.ledger.as_ref().filter(|_| self.scratch.parent == 0);
        if let Some(spent) = ledger.map(|ledger| ledger.attempts()).filter(|spent| *spent > 1) {
            extensions.insert(Spent(spent));
        }
    }

    /// Takes the outcome that a driver below has noted for the attempt.
    pub(crate) fn take_inner_outcome(&self, ledger: &Ledger) -> Option<InnerOutcome> {
        if self.scratch.send == 0 {
            return None;
        }
        self.merge_trail(ledger);
        ledger.take_inner_outcome(self.scratch.send)
    }

    /// Notes the outcome for the driver above.
    pub(crate) fn put_inner_outcome(&self, ledger: &Ledger, outcome: InnerOutcome) {
        if self.scratch.parent != 0 {
            ledger.put_inner_outcome(outcome);
        }
    }

    /// Takes over the trail of drivers below, and redacts the secrets that this driver knows.
    fn merge_trail(&self, ledger: &Ledger) {
        if self.scratch.send != 0 {
            let secrets = self.secrets();
            ledger.adopt_attempts(self.scratch.send, self.scratch.parent, |attempt| {
                report::redact(attempt, secrets);
            });
        }
    }

    /// Returns the secrets that must not stand in a report.
    pub(crate) fn secrets(&self) -> report::Secrets<'_> {
        report::Secrets(self.common().secrets.as_slice())
    }

    /// Reports the request, where this driver does.
    fn report(&self, outcome: Reported, kind: report::Kind) {
        let Some(reporter) = self.reporter() else { return };
        let mut trail = match &self.scratch.ledger {
            Some(ledger) => ledger.take_trail(self.scratch.parent),
            None => Vec::new(),
        };
        // Without a fallback, the model was the caller's own.
        let named = self.scratch.options.as_ref().and_then(RequestOptions::requested_model);
        if let Some(own) = self.scratch.ledger.as_deref().and_then(Ledger::own_model).or(named) {
            for attempt in trail.iter_mut().filter(|attempt| attempt.model.is_none()) {
                attempt.model = Some(own.clone());
            }
        }
        let subject = report::Subject {
            snapshot: self.scratch.snapshot(),
            label: self.scratch.options.as_ref().and_then(RequestOptions::label_text),
            started: self.scratch.started,
            secrets: self.secrets(),
        };
        report::report_request(reporter, &subject, trail, outcome, kind);
    }
}

/// Returns the cause of a rejection, as the pool would give it for the same account.
fn rejection_cause(pools: &[Pool], stamp: Option<&Stamp>, reason: Reason) -> Cause {
    let cause = Cause::upstream(Code::from(reason));
    let Some(stamp) = stamp else { return cause };
    let Some(pool) = pools.iter().find(|pool| pool.id() == stamp.pool) else { return cause };
    let none = pool.rejection(&stamp.id, stamp.account, stamp.generation, reason);
    cause.of_pool(none.can_mint, none.expired_at)
}

impl<S, St: Stage, K> Drop for Exchange<S, St, K> {
    fn drop(&mut self) {
        if self.scratch.done {
            return;
        }
        // A retry that was paid for and not sent costs nothing.
        self.shared.config.stages.cancel(&mut self.st);
        let Some(ledger) = &self.scratch.ledger else { return };
        self.merge_trail(ledger);
        if self.reporter().is_some() && ledger.has_attempts(self.scratch.parent) {
            self.report(Reported::Dropped, report::Kind::Abandoned);
        }
    }
}
