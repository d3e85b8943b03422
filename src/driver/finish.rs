//! How a request ends: with a success, with an answer of this crate's own, or dropped.

use http::{Response, StatusCode, response};
use http_body::Body;

use super::{exchange::Exchange, report};
use crate::{
    answer::ServedBy,
    body::FailoverBody,
    classify::{Cause, Origin},
    pool::lease::InFlight,
    report::Outcome,
    stage::{InnerOutcome, Ledger, RequestOptions, Stage, Stamp, Success},
};

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// The upstream did what it was asked for.
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
        let in_flight = stages.in_flight(&self.st);
        let mut stamp = None;
        if self.common().served_by || self.scratch.parent != 0 {
            stamp = stages.stamp(&self.st).filter(|_| !charged);
            self.credit(charged || stamp.is_some());
        }
        self.hand_out(head, stamp, || body(in_flight))
    }

    /// Whether a rotation below has put its own credential on the attempt that succeeded.
    fn is_credited(&self) -> bool {
        let ledger = self.scratch.ledger.as_ref().filter(|_| self.scratch.send != 0);
        ledger
            .and_then(|ledger| ledger.take_inner_outcome(self.scratch.send))
            .is_some_and(|note| note.charged)
    }

    /// Tells an outer rotation that its credential was not the one that was sent.
    fn credit(&self, replaced: bool) {
        let stamped = self.scratch.handoff.stamp.is_some();
        if let (true, true, Some(ledger)) = (replaced, stamped, &self.scratch.ledger) {
            ledger.put_inner_outcome(InnerOutcome::credit(self.scratch.parent));
        }
    }

    /// After failures that a success has made good.
    fn report_recovery(&mut self, status: StatusCode) {
        let Some(ledger) = &self.scratch.ledger else { return };
        self.merge_trail(ledger);
        if self.common().recovered
            && self.reporter().is_some()
            && ledger.has_attempts(self.scratch.parent)
        {
            self.report(Outcome::Answer(status), report::Kind::Recovered);
        }
    }

    /// The answer as the caller gets it; `stamp` tells whose credential it was given for.
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
            // What a layer below has answered itself was not sent.
            let local = head.extensions.get::<Cause>().is_some_and(|c| c.origin == Origin::Local);
            let attempts = if local { taken.saturating_sub(1) } else { taken };
            let model = self.shared.config.stages.model(&self.st).filter(|_| !local).cloned();
            head.extensions.insert(ServedBy::new(stamp, model, attempts).over(below));
        }
        Response::from_parts(head, body())
    }

    /// Answers in the upstream's place; `instead` says that an attempt's answer has been given up for it.
    pub(crate) fn answer<B: Body>(
        &mut self,
        cause: &Cause,
        grpc: bool,
        instead: bool,
    ) -> Response<FailoverBody<B>> {
        self.scratch.done = true;
        self.report(Outcome::Local(cause.code), report::Kind::Failed);
        if let (true, Some(ledger)) = (self.scratch.parent != 0, &self.scratch.ledger) {
            // Only a rotation asks, and of the credential that it has put on.
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

    /// What a driver below has written about the attempt.
    pub(crate) fn take_note(&self, ledger: &Ledger) -> Option<InnerOutcome> {
        if self.scratch.send == 0 {
            return None;
        }
        self.merge_trail(ledger);
        ledger.take_inner_outcome(self.scratch.send)
    }

    pub(crate) fn leave_note(&self, ledger: &Ledger, note: InnerOutcome) {
        if self.scratch.parent != 0 {
            ledger.put_inner_outcome(note);
        }
    }

    /// Takes over what drivers below wrote, and keeps out of it the secrets that this one knows.
    pub(crate) fn merge_trail(&self, ledger: &Ledger) {
        if self.scratch.send != 0 {
            let secrets = self.secrets();
            ledger.adopt_attempts(self.scratch.send, self.scratch.parent, |attempt| {
                report::redact(attempt, secrets);
            });
        }
    }

    pub(crate) fn secrets(&self) -> report::Secrets<'_> {
        report::Secrets(self.common().secrets.as_slice())
    }

    pub(crate) fn report(&self, outcome: Outcome, kind: report::Kind) {
        let Some(reporter) = self.reporter() else { return };
        let mut trail = match &self.scratch.ledger {
            Some(ledger) => ledger.take_trail(self.scratch.parent),
            None => Vec::new(),
        };
        // Where no fallback chose one, it was the caller's own.
        let named = self.scratch.options.as_ref().and_then(RequestOptions::requested_model);
        if let Some(own) = self.scratch.ledger.as_deref().and_then(Ledger::own_model).or(named) {
            for attempt in trail.iter_mut().filter(|attempt| attempt.model.is_none()) {
                attempt.model = Some(own.clone());
            }
        }
        let asked = report::Subject {
            snapshot: self.scratch.snapshot(),
            label: self.scratch.options.as_ref().and_then(RequestOptions::label_text),
            started: self.scratch.started,
            secrets: self.secrets(),
        };
        report::report_request(reporter, &asked, trail, outcome, kind);
    }
}

impl<S, St: Stage, K> Drop for Exchange<S, St, K> {
    fn drop(&mut self) {
        if self.scratch.done {
            return;
        }
        // What was paid for and never sent costs nothing.
        self.shared.config.stages.cancel(&mut self.st);
        let Some(ledger) = &self.scratch.ledger else { return };
        self.merge_trail(ledger);
        if self.reporter().is_some() && ledger.has_attempts(self.scratch.parent) {
            self.report(Outcome::Dropped, report::Kind::Abandoned);
        }
    }
}
