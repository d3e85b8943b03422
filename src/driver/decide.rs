//! What follows a failure: what is learned from it, and whether the request is sent again.

use std::time::Duration;

use http::{Extensions, Response};
use http_body::Body;

use super::{
    config::AuthFailureMode,
    exchange::{Exchange, GetBytes},
    model_source::{Head, Source},
    outcome::{Awaiting, Heard, Held, Settled, Spent},
    report,
};
use crate::{
    answer::{FAILOVER_AUTH, local},
    body::FailoverBody,
    classify::{Cause, Code, Origin, Reason, Verdict},
    clock::{self, Now, Sleep},
    pool::{
        Pool,
        lease::{InFlight, Paused},
    },
    report::{Attempt, Followed, NotResent, Outcome},
    stage::{Facts, InnerOutcome, Ledger, ModelLookup, Next, Stage, Stamp, rotation::will_serve},
};

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// Learns from a failure, and either reserves the next attempt or lets the outcome go out.
    ///
    /// `build` makes the next attempt; its argument says whether it is the last one.
    #[allow(clippy::too_many_lines)] // The order of these steps is the promise of this crate.
    pub(crate) fn decide<B: Body, E: 'static, N>(
        &mut self,
        mut held: Held<B, E>,
        verdict: Verdict,
        heard: Option<Heard>,
        bytes: GetBytes<'_>,
        build: impl FnOnce(&mut Self, bool) -> Option<N>,
    ) -> Settled<B, E, N> {
        let ledger = self.ledger();
        let resumed = heard.is_some();
        let mut heard = heard.unwrap_or_else(|| Heard::of(self.take_note(&ledger)));
        let note = &heard.note;
        if let Some(Spent(attempts)) = held.take_spent() {
            ledger.add_attempts_taken(attempts.saturating_sub(1));
        }
        let local = held.cause().is_some_and(|cause| cause.origin == Origin::Local);
        let mut now = Now::unread();
        let mut model = std::mem::take(&mut self.scratch.model);
        let shared = self.shared.clone();
        let stages = &shared.config.stages;
        let source = Source {
            at: shared.config.common.model_at.as_ref(),
            ledger: Some(&ledger),
            head: Head::Kept(self.scratch.snapshot()),
            bytes,
        };
        let mut read = || source.read();
        let wanted = ModelLookup::new(stages.model(&self.st).cloned(), &mut model, &mut read);
        let mut facts = Facts {
            status: held.status(),
            local,
            unsent: note.as_ref().is_some_and(|note| note.unsent),
            charged: note.as_ref().is_some_and(|note| note.charged),
            options: self.scratch.options.as_ref(),
            ledger: Some(&ledger),
            deadline: self.deadline(),
            repeatable: self.is_repeatable(),
            barred: self.barred(&ledger),
            last: heard.over,
            random: fastrand::f64,
            available_in: note.as_ref().and_then(|note| note.available_in),
            not_resent: note
                .as_ref()
                .map_or(NotResent::Final, |_| ledger.not_resent(self.scratch.parent)),
            ..Facts::of(verdict, &mut now, wanted)
        };
        let written = !local && self.is_reported();
        if !resumed {
            stages.note_failure(&mut self.st, &mut facts);
            // What is asked of the stages next may let go of the account that has answered.
            heard.stamp = stages.stamp(&self.st);
            heard.in_flight = stages.in_flight(&self.st).map(InFlight::pause);
        }
        if written && !resumed && heard.note.is_none() {
            let mut attempt = self.attempt(&held, verdict, heard.stamp.as_ref());
            attempt.model =
                facts.model.replacement.clone().or_else(|| self.scratch.handoff.model.clone());
            ledger.add_attempt(self.scratch.parent, attempt);
        }
        let awaits = !heard.over && stages.awaits_refresh(&self.st, &mut facts);
        if let Some(pool) = stages.pool(&self.st).filter(|_| awaits) {
            let next = heard.next.take();
            let news =
                next.unwrap_or_else(|| pool.wait_for_change(&mut heard.since, facts.deadline));
            self.scratch.model = model;
            return Settled::Await(Box::new(Awaiting { held, verdict, heard, news }));
        }
        let Heard { note, stamp, in_flight, .. } = heard;
        let instead = note.as_ref().is_some_and(|note| note.instead);
        let lines = written || instead && self.is_reported();
        // A rotation of this driver's own would have taken care of it.
        let unsent = note.as_ref().is_some_and(|note| note.unsent) && !stages.rotates();
        let mut pools = note.map(|note| note.pools).unwrap_or_default();
        let mut next = stages.next(&mut self.st, &mut facts);
        if !can_be_served(next, &pools, &mut facts) {
            stages.cancel(&mut self.st);
            next = facts.decline(NotResent::NoAccount);
        }
        let (available_in, charged, mut why) =
            (facts.available_in, facts.charged, facts.not_resent);
        let unready = facts.not_ready;
        if shared.config.common.model_at.is_some() && self.scratch.handoff.model.is_none() {
            let asked = match next {
                // For the trail: of a request that fails for good, it is worth the reading.
                Next::Pass => lines,
                Next::FallBack => true,
                // The account is chosen by it when the wait is over, and the body may be gone.
                Next::After(wait) => !wait.is_zero() && stages.rotates(),
                Next::Again | Next::Replay => false,
            };
            let own = facts.model.own_if(asked);
            if let (Next::Pass | Next::FallBack, Some(own)) = (next, own) {
                ledger.set_own_model(own);
            }
        }
        self.scratch.model = model;
        match self.take(&ledger, next, build) {
            Ok((sleep, built)) => {
                if written {
                    ledger.set_followed(self.scratch.parent, followed(next));
                }
                return Settled::Again(sleep, built);
            }
            Err(other) => {
                stages.cancel(&mut self.st);
                why = other.unwrap_or(why);
            }
        }
        if written && why != NotResent::Final {
            ledger.set_followed(self.scratch.parent, Followed::NotResent(why));
        }
        let ours = stamp.is_some() && !charged && !local;
        let charged = charged || ours;
        if !matches!(held, Held::Local(..)) {
            pools.extend(stages.pool(&self.st).cloned());
            let pools = pools.clone();
            let send = self.scratch.parent;
            self.leave_note(
                &ledger,
                InnerOutcome { send, available_in, charged, unsent, instead, pools },
            );
        }
        let held = match unready {
            // A source that is down is no refusal; any other answer stays what it is.
            Some(cause) if ours && verdict.is_unauthorized() => Held::Local(cause, self.is_grpc()),
            _ => held,
        };
        Settled::Done(self.finish(held, Answered { verdict, ours, stamp, in_flight, pools }))
    }

    /// Tells layers further out that do not share the ledger how much was spent.
    fn count(&self, extensions: &mut Extensions) {
        let ledger = self.scratch.ledger.as_ref().filter(|_| self.scratch.parent == 0);
        if let Some(spent) = ledger.map(|ledger| ledger.attempts()).filter(|spent| *spent > 1) {
            extensions.insert(Spent(spent));
        }
    }

    /// Takes what the next attempt needs; the held answer is given up only after this.
    fn take<N>(
        &mut self,
        ledger: &Ledger,
        next: Next,
        build: impl FnOnce(&mut Self, bool) -> Option<N>,
    ) -> Result<(Option<Sleep>, N), Option<NotResent>> {
        let wait = match next {
            Next::Pass => return Err(None),
            Next::Again | Next::Replay | Next::FallBack => Duration::ZERO,
            Next::After(wait) => wait,
        };
        let sleep =
            if wait.is_zero() { None } else { Some(clock::sleep(wait).ok_or(NotResent::NoTimer)?) };
        let last = ledger.attempts().saturating_add(1) >= self.attempts_limit(ledger);
        let built = build(self, last).ok_or(NotResent::SentOnce)?;
        if !ledger.take_attempt(self.attempts_limit(ledger)) {
            return Err(Some(NotResent::Attempts));
        }
        Ok((sleep, built))
    }

    fn attempt<B: Body, E: 'static>(
        &self,
        held: &Held<B, E>,
        verdict: Verdict,
        stamp: Option<&Stamp>,
    ) -> Attempt {
        let common = self.common();
        let stamp = stamp.or(self.scratch.handoff.stamp.as_ref());
        let secrets = self.secrets();
        let mut attempt = Attempt::new(verdict);
        attempt.account = stamp.map(|stamp| stamp.id.clone());
        attempt.generation = stamp.map(|stamp| stamp.generation);
        attempt.credential = stamp.is_some() || self.is_authorized();
        match held {
            Held::Answer(head, _) => {
                attempt.status = Some(head.status);
                attempt.upstream_request_id = report::upstream_request_id(&head.headers, secrets);
            }
            Held::Error(error) => {
                attempt.error = Some(report::error_text(&common.classifier, error, secrets));
            }
            Held::Local(..) => {}
        }
        attempt
    }

    /// The last outcome, as the caller gets it.
    fn finish<B: Body, E: 'static>(
        &mut self,
        held: Held<B, E>,
        answered: Answered,
    ) -> Result<Response<FailoverBody<B>>, E> {
        let Answered { verdict, ours, stamp, in_flight, mut pools } = answered;
        self.scratch.done = true;
        match held {
            Held::Local(cause, grpc) => Ok(self.answer(&cause, grpc, ours)),
            Held::Error(error) => {
                if self.reporter().is_some() {
                    let common = self.common();
                    // The pools below have their secrets in it, whether or not this driver has one.
                    pools.extend(common.secrets.clone());
                    let secrets = report::Secrets(&pools);
                    let text = report::error_text(&common.classifier, &error, secrets);
                    self.report(Outcome::Error(text), report::Kind::Failed);
                }
                Err(error)
            }
            Held::Answer(mut head, mut body) => {
                self.count(&mut head.extensions);
                let local = head.extensions.get::<Cause>().filter(|c| c.origin == Origin::Local);
                let local = local.map(|cause| Outcome::Local(cause.code));
                if let (true, Verdict::Unauthorized(reason)) = (ours, verdict) {
                    let cause = rejection_cause(&pools, stamp.as_ref(), reason);
                    if self.common().mode == AuthFailureMode::Replace {
                        let answer = self.shared.config.local.answer(&cause, self.is_grpc());
                        let (made, bytes) = answer.into_parts();
                        (head, body) = (made, FailoverBody::local(bytes));
                    } else {
                        head.headers
                            .insert(FAILOVER_AUTH.clone(), local::failover_auth(cause.code));
                        head.extensions.insert(cause);
                    }
                }
                // What the caller gets is what is told: a layer further out would see no other.
                let outcome = local.unwrap_or(Outcome::Answer(head.status));
                self.report(outcome, report::Kind::Failed);
                let in_flight = in_flight.map(Paused::resume);
                Ok(self.hand_out(head, stamp, || body.with_in_flight(in_flight)))
            }
        }
    }
}

impl Heard {
    fn of(note: Option<InnerOutcome>) -> Self {
        Self { note, stamp: None, in_flight: None, since: None, next: None, over: false }
    }
}

/// What is known of the last attempt.
struct Answered {
    verdict: Verdict,
    /// It was sent with a credential of a pool of this driver, which has taken the blame.
    ours: bool,
    stamp: Option<Stamp>,
    in_flight: Option<Paused>,
    /// The pools below, whose secrets may stand in an error.
    pools: Vec<Pool>,
}

/// The cause of a refusal, as the pool would give it for the same account.
fn rejection_cause(pools: &[Pool], stamp: Option<&Stamp>, reason: Reason) -> Cause {
    let cause = Cause::upstream(Code::from(reason));
    let Some(stamp) = stamp else { return cause };
    let Some(pool) = pools.iter().find(|pool| pool.id() == stamp.pool) else { return cause };
    let none = pool.rejection(&stamp.id, stamp.account, stamp.generation, reason);
    cause.of_pool(none.can_mint, none.expired_at)
}

/// Whether the rotations below, of other drivers, will have an account for the next attempt: an
/// answer is not given up for one that they would answer themselves.
fn can_be_served(next: Next, pools: &[Pool], facts: &mut Facts<'_>) -> bool {
    let wait = match next {
        Next::Pass => return true,
        Next::Again | Next::Replay | Next::FallBack => Duration::ZERO,
        Next::After(wait) => wait,
    };
    if pools.is_empty() {
        return true;
    }
    let Some(at) = facts.now.get().checked_add(wait) else { return true };
    let at_once = next != Next::After(wait);
    let (options, ledger) = (facts.options, facts.ledger);
    pools.iter().all(|pool| will_serve(pool, options, ledger, at, at_once, &mut facts.model))
}

fn followed(next: Next) -> Followed {
    match next {
        Next::After(wait) => Followed::Retried(wait),
        Next::FallBack => Followed::FellBack,
        Next::Replay => Followed::Replayed,
        Next::Again | Next::Pass => Followed::Rotated,
    }
}
