//! The decision after a failure: the newest answer is given up only after the next attempt is reserved.
//!
//! The promises of this crate rest on the order of its steps:
//!
//! 1. The outcome that a driver below has noted is read: its trail, its attempts, its pools.
//! 2. The stages learn from the failure, once, and the attempt is written into the trail.
//! 3. While the rejected credential is renewed, the failure is held, and nothing is decided.
//! 4. The stages choose what comes next, and the drivers below must be able to serve it.
//! 5. The next attempt is reserved; only then the held outcome is given up.
//! 6. Else the outcome goes out, and is noted for the driver above.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    attempt::Attempts,
    config::Config,
    consult::{Choice, await_renewal, choose_next, facts, learn},
    exchange::Exchange,
    limits::RequestLimits,
    model_source::{GetBytes, Head, ModelSource},
    outcome::{Failure, Outcome, Spent},
    report,
    state::{Phase, Step},
};
use crate::{
    body::{FailoverBody, Keep, Spare},
    clock::Now,
    pool::ChangeWait,
    report::{Attempt, Followed, NotResent},
    stage::{Facts, InnerOutcome, Ledger, ModelLookup, Next, Stage},
};

impl<S, St, K, B> Attempts<S, St, K, B>
where
    S: Service<Request<K::Out>>,
    S::Error: 'static,
    St: Stage,
    K: Keep<B> + Spare<S>,
{
    /// Decides what follows a classified outcome.
    #[cold]
    pub(crate) fn follow<RB>(&mut self, mut failure: Failure<RB, S::Error>) -> Step<S, K, B, RB>
    where
        S: Service<Request<K::Out>, Response = Response<RB>>,
        RB: Body<Data = Bytes>,
    {
        match failure.outcome {
            // The status could have been a failure, and the body says that it is none.
            Outcome::Answer(head, body) if failure.verdict.is_success() => {
                let succeed = |in_flight| body.with_in_flight(in_flight);
                return Step::Done(Ok(self.exchange.succeed(head, succeed)));
            }
            // Only another model could help, and only where the cause is no credential.
            Outcome::Local(cause, grpc)
                if self.exchange.common().model_at.is_none()
                    || failure.verdict.is_unauthorized() =>
            {
                return Step::Done(Ok(self.exchange.answer(&cause, grpc, false)));
            }
            _ => {}
        }
        let ledger = self.exchange.ledger();
        self.exchange.read_inner_outcome(&ledger, &mut failure);
        let choice = {
            let shared = self.exchange.shared.clone();
            let kept = &self.kept;
            let bytes = || shared.config.keep.bytes(kept.as_ref()?);
            match self.exchange.choose(&ledger, &mut failure, &bytes) {
                Ok(choice) => choice,
                Err(change) => return Phase::Holding(Box::new(change), Box::new(failure)).into(),
            }
        };
        match self.reserve_next(&ledger, choice.next) {
            Ok(phase) => {
                self.exchange.note_followed(&ledger, &failure, followed(choice.next));
                phase.into()
            }
            Err(why) => Step::Done(self.exchange.give_up(&ledger, failure, &choice, why)),
        }
    }

    /// Reserves everything that `next` needs: its timer, its parts, and its place in the budget.
    ///
    /// The held outcome is given up only after this. The error says why the request is not sent
    /// again, where that is not the stages' decision.
    fn reserve_next<RB: Body>(
        &mut self,
        ledger: &Ledger,
        next: Next,
    ) -> Result<Phase<S, K, B, RB>, Option<NotResent>> {
        let wait = match next {
            Next::Pass => return Err(None),
            Next::Rotate | Next::Replay | Next::FallBack => Duration::ZERO,
            Next::Retry(wait) => wait,
        };
        let mut sleep = None;
        if !wait.is_zero() {
            let timer = &self.exchange.common().timer;
            sleep = Some(timer.sleep(wait).ok_or(NotResent::NoTimer)?);
        }
        let limit = self.exchange.limits().attempts(ledger);
        let last = ledger.attempts().saturating_add(1) >= limit;
        let mut attempt = self.build(last).ok_or(NotResent::SentOnce)?;
        if !ledger.take_attempt(limit) {
            return Err(Some(NotResent::Attempts));
        }
        attempt.waited = sleep.is_some();
        Ok(match sleep {
            Some(sleep) => Phase::Sleeping(sleep, attempt),
            None => Phase::Readying(attempt),
        })
    }
}

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// Reads the outcome of the attempt that drivers below have noted.
    fn read_inner_outcome<B: Body, E>(&self, ledger: &Ledger, failure: &mut Failure<B, E>) {
        if failure.is_new() {
            failure.inner = self.take_inner_outcome(ledger);
        }
        if let Some(Spent(attempts)) = failure.take_spent() {
            ledger.add_attempts_taken(attempts.saturating_sub(1));
        }
    }

    /// Has the stages learn from the failure and choose what comes next.
    ///
    /// The error is the wait that must end before anything can be chosen.
    fn choose<B: Body, E: 'static>(
        &mut self,
        ledger: &Arc<Ledger>,
        failure: &mut Failure<B, E>,
        bytes: GetBytes<'_>,
    ) -> Result<Choice, ChangeWait> {
        let shared = self.shared.clone();
        let (stages, common) = (&shared.config.stages, &shared.config.common);
        let mut model = std::mem::take(&mut self.scratch.model);
        let source = ModelSource {
            at: common.model_at.as_ref(),
            ledger: Some(ledger),
            head: Head::Kept(self.scratch.snapshot()),
            bytes,
        };
        let mut read = || source.read();
        let mut now = Now::unread();
        let wanted =
            ModelLookup::new(stages.chosen(&self.st).model.cloned(), &mut model, &mut read);
        let limits = RequestLimits { common, data: &self.scratch };
        let mut facts = facts(limits, ledger, failure, &mut now, wanted);
        if failure.is_new() {
            learn(stages, &mut self.st, failure, &mut facts);
            self.write_attempt(ledger, failure, &facts);
        }
        let choice = match await_renewal(stages, &self.st, failure, &mut facts) {
            Some(change) => Err(change),
            None => Ok(choose_next(stages, &mut self.st, failure, &mut facts)),
        };
        if let Ok(choice) = &choice {
            self.note_own_model(ledger, failure, choice.next, &mut facts);
        }
        self.scratch.model = model;
        choice
    }

    /// Writes the attempt into the trail, unless it was local or a driver below has done so.
    fn write_attempt<B: Body, E: 'static>(
        &self,
        ledger: &Ledger,
        failure: &Failure<B, E>,
        facts: &Facts<'_>,
    ) {
        if !self.is_written(failure) || failure.inner.is_some() {
            return;
        }
        let stamp = failure.stamp.as_ref().or(self.scratch.handoff.stamp.as_ref());
        let secrets = self.secrets();
        let mut attempt = Attempt::new(failure.verdict);
        attempt.account = stamp.map(|stamp| stamp.id.clone());
        attempt.generation = stamp.map(|stamp| stamp.generation);
        attempt.credential = stamp.is_some() || self.is_authorized();
        match &failure.outcome {
            Outcome::Answer(head, _) => {
                attempt.status = Some(head.status);
                attempt.upstream_request_id = report::upstream_request_id(&head.headers, secrets);
            }
            Outcome::Error(error) => {
                let classifier = &self.common().classifier;
                attempt.error = Some(report::error_text(classifier, error, secrets));
            }
            Outcome::Local(..) => {}
        }
        attempt.model =
            facts.model.replacement.clone().or_else(|| self.scratch.handoff.model.clone());
        ledger.add_attempt(self.scratch.parent, attempt);
    }

    /// Notes the model of the caller's request, where the trail or a later attempt needs it.
    fn note_own_model<B: Body, E>(
        &self,
        ledger: &Ledger,
        failure: &Failure<B, E>,
        next: Next,
        facts: &mut Facts<'_>,
    ) {
        let Config { stages, common, .. } = &self.shared.config;
        if common.model_at.is_none() || self.scratch.handoff.model.is_some() {
            return;
        }
        let asked = match next {
            // Reading it costs something: it is read for the trail of a request that fails.
            Next::Pass => self.is_written(failure) || failure.is_instead() && self.is_reported(),
            Next::FallBack => true,
            // The account is chosen by it after the wait, and the body may be gone by then.
            Next::Retry(wait) => !wait.is_zero() && stages.rotates(),
            Next::Rotate | Next::Replay => false,
        };
        let own = facts.model.own_if(asked);
        if let (Next::Pass | Next::FallBack, Some(own)) = (next, own) {
            ledger.set_own_model(own);
        }
    }

    /// Lets the newest outcome go out, and notes it for the driver above.
    ///
    /// `why` is the reason that no attempt could be reserved, where the stages wanted one.
    fn give_up<B: Body, E: 'static>(
        &mut self,
        ledger: &Ledger,
        mut failure: Failure<B, E>,
        choice: &Choice,
        why: Option<NotResent>,
    ) -> Result<Response<FailoverBody<B>>, E> {
        self.shared.config.stages.cancel(&mut self.st);
        let why = why.unwrap_or(choice.why);
        if why != NotResent::Final {
            self.note_followed(ledger, &failure, Followed::NotResent(why));
        }
        // Whether it was sent with a credential of this driver's pool, which takes the blame.
        let ours = failure.stamp.is_some() && !choice.charged && !failure.is_local();
        let inner = failure.inner.take().unwrap_or_default();
        let mut pools = inner.pools;
        let stages = &self.shared.config.stages;
        if !matches!(failure.outcome, Outcome::Local(..)) {
            pools.extend(stages.chosen(&self.st).pool.cloned());
            self.put_inner_outcome(
                ledger,
                InnerOutcome {
                    send: self.scratch.parent,
                    available_in: choice.available_in,
                    charged: choice.charged || ours,
                    // A rotation of this driver has used another credential by now.
                    unsent: inner.unsent && !stages.rotates(),
                    instead: inner.instead,
                    pools: pools.clone(),
                },
            );
        }
        match choice.unready {
            // Only a rejection is outdated by a token source that is down.
            Some(cause) if ours && failure.verdict.is_unauthorized() => {
                let grpc = self.is_grpc();
                Ok(self.answer(&cause, grpc, true))
            }
            _ => self.hand_out_failure(failure, ours, pools),
        }
    }

    /// Notes in the trail how the failure was followed.
    fn note_followed<B: Body, E>(
        &self,
        ledger: &Ledger,
        failure: &Failure<B, E>,
        followed: Followed,
    ) {
        if self.is_written(failure) {
            ledger.set_followed(self.scratch.parent, followed);
        }
    }

    /// Returns whether the failure stands in the trail.
    fn is_written<B: Body, E>(&self, failure: &Failure<B, E>) -> bool {
        !failure.is_local() && self.is_reported()
    }
}

fn followed(next: Next) -> Followed {
    match next {
        Next::Retry(wait) => Followed::Retried(wait),
        Next::FallBack => Followed::FellBack,
        Next::Replay => Followed::Replayed,
        Next::Rotate | Next::Pass => Followed::Rotated,
    }
}
