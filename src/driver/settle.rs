//! What follows a failure: what is learned from it, and whether the request is sent again.

use std::time::Duration;

use http::Response;
use http_body::Body;
use tokio::time::Instant;

use super::{
    body::FailoverBody,
    config::AuthFailureMode,
    held::{Held, Settled},
    local::{self, FAILOVER_AUTH},
    nap::{self, Nap},
    run::{GetBytes, Run},
    source::{Head, Source},
    tell,
};
use crate::{
    classify::{Cause, Code, Origin, Verdict},
    clock::Now,
    credential::{InFlight, Pool},
    report::{Attempt, Followed, NotResent, Outcome},
    stage::{
        ledger::{Ledger, Note},
        models::{Model, Wanted},
        options::RequestOptions,
        retry::{IDEMPOTENCY_KEY, repeatable},
        rotation::will_serve,
        stage::{Facts, Next, Stage, Stamp},
    },
};

/// How late a wait may end: tokio counts in milliseconds.
const TIMER: Duration = Duration::from_millis(2);

impl<S, St: Stage, K> Run<S, St, K> {
    /// Learns from a failure, and either reserves the next attempt or lets the outcome go out.
    ///
    /// `build` makes the next attempt; its argument says whether it is the last one.
    #[allow(clippy::too_many_lines)] // The order of these steps is the promise of this crate.
    pub(crate) fn settle<B: Body, E: 'static, N>(
        &mut self,
        held: Held<B, E>,
        verdict: Verdict,
        bytes: GetBytes<'_>,
        build: impl FnOnce(&Self, bool) -> Option<N>,
    ) -> Settled<B, E, N> {
        let ledger = self.ledger();
        let note = self.hear(&ledger);
        let local = held.cause().is_some_and(|cause| cause.origin == Origin::Local);
        let mut now = Now::unread();
        let mut model = self.model.take().map_or(Model::Unread, |model| *model);
        let live = self.live.clone();
        let stages = &live.config.stages;
        let source = Source {
            at: live.config.common.model_at.as_ref(),
            ledger: Some(&ledger),
            head: Head::Kept(self.snapshot.as_ref()),
            bytes,
        };
        let mut read = || source.read();
        let wanted = Wanted::new(stages.model(&self.st).cloned(), &mut model, &mut read);
        let mut facts = Facts {
            status: held.status(),
            headers: held.headers(),
            local,
            unsent: note.as_ref().is_some_and(|note| note.unsent),
            charged: note.as_ref().is_some_and(|note| note.charged),
            options: self.options.as_deref(),
            ledger: Some(&ledger),
            deadline: self.deadline(),
            repeatable: self.is_repeatable(),
            barred: self.bar(&ledger),
            random: fastrand::f64(),
            soonest: note.as_ref().and_then(|note| note.soonest),
            ..Facts::of(verdict, &mut now, wanted)
        };
        stages.learn(&mut self.st, &mut facts);
        // What is asked of the stages next may let go of the account that has answered.
        let (stamp, in_flight) = (stages.stamp(&self.st), stages.in_flight(&self.st));
        let written = !local && self.is_told();
        if written && note.is_none() {
            let mut attempt = self.attempt(&held, verdict, stamp.as_ref());
            attempt.model = facts.wanted.known();
            ledger.write(self.parent, attempt);
        }
        // A rotation of this driver's own would have taken care of it.
        let unsent = note.as_ref().is_some_and(|note| note.unsent) && !stages.rotates();
        let mut pools = note.map(|note| note.pools).unwrap_or_default();
        let mut next = stages.next(&mut self.st, &mut facts);
        if !can_be_served(next, &pools, &mut facts) {
            stages.cancel(&mut self.st);
            next = facts.decline(NotResent::NoAccount);
        }
        let (soonest, charged, mut why) = (facts.soonest, facts.charged, facts.why);
        if written && live.config.common.model_at.is_some() {
            // For the trail: of a request that fails for good, it is worth the reading.
            let ends = next == Next::Pass;
            let own = if ends { facts.wanted.own().ok() } else { facts.wanted.own_known() };
            if let Some(own) = own {
                ledger.set_own_model(own);
            }
        }
        self.model = model.boxed();
        match self.take(&ledger, next, build) {
            Ok((nap, built)) => {
                if written {
                    ledger.follow(self.parent, followed(next));
                }
                return Settled::Again(nap, built);
            }
            Err(other) => {
                stages.cancel(&mut self.st);
                why = other.unwrap_or(why);
            }
        }
        if written && why != NotResent::Final {
            ledger.follow(self.parent, Followed::NotResent(why));
        }
        let ours = stamp.is_some() && !charged && !local;
        let charged = charged || ours;
        if !matches!(held, Held::Local(..)) {
            pools.extend(stages.pool(&self.st).cloned());
            let pools = pools.clone();
            self.leave(&ledger, Note { send: self.parent, soonest, charged, unsent, pools });
        }
        Settled::Done(self.let_go(held, Answered { verdict, ours, stamp, in_flight, pools }))
    }

    fn is_repeatable(&self) -> bool {
        self.harmless
            || self.snapshot.as_ref().is_some_and(|kept| {
                let keyed = kept.has(&IDEMPOTENCY_KEY);
                repeatable(&kept.method(), keyed, self.options.as_deref())
            })
    }

    /// Whether the deadline is over, by more than a timer may be late.
    pub(crate) fn is_late(&self) -> bool {
        let late = self.deadline().and_then(|deadline| deadline.checked_add(TIMER));
        late.is_some_and(|late| Instant::now() > late)
    }

    fn deadline(&self) -> Option<Instant> {
        let asked = self.options.as_deref().and_then(RequestOptions::max_time);
        let limit = self.common().deadline;
        self.started?.checked_add(asked.map_or(limit, |asked| asked.min(limit)))
    }

    fn attempts_limit(&self) -> u32 {
        let asked = self.options.as_deref().and_then(RequestOptions::max_attempts);
        let limit = self.common().attempts;
        asked.map_or(limit, |asked| asked.min(limit))
    }

    fn bar(&self, ledger: &Ledger) -> Option<NotResent> {
        let used_up = ledger.attempts() >= self.attempts_limit();
        self.barred.or_else(|| used_up.then_some(NotResent::Attempts))
    }

    /// Takes what the next attempt needs; the held answer is given up only after this.
    fn take<N>(
        &self,
        ledger: &Ledger,
        next: Next,
        build: impl FnOnce(&Self, bool) -> Option<N>,
    ) -> Result<(Option<Nap>, N), Option<NotResent>> {
        let wait = match next {
            Next::Pass => return Err(None),
            Next::Again | Next::FallBack => Duration::ZERO,
            Next::After(wait) => wait,
        };
        let nap =
            if wait.is_zero() { None } else { Some(nap::sleep(wait).ok_or(NotResent::NoTimer)?) };
        let last = ledger.attempts().saturating_add(1) >= self.attempts_limit();
        let built = build(self, last).ok_or(NotResent::SentOnce)?;
        if !ledger.take_attempt(self.attempts_limit()) {
            return Err(Some(NotResent::Attempts));
        }
        Ok((nap, built))
    }

    fn attempt<B: Body, E: 'static>(
        &self,
        held: &Held<B, E>,
        verdict: Verdict,
        stamp: Option<&Stamp>,
    ) -> Attempt {
        let common = self.common();
        let stamp = stamp.or(self.outer.stamp.as_ref());
        let secrets = self.secrets();
        let mut attempt = Attempt::new(verdict);
        attempt.account = stamp.map(|stamp| stamp.id.clone());
        attempt.generation = stamp.map(|stamp| stamp.generation);
        attempt.credential = stamp.is_some() || self.is_authorized();
        match held {
            Held::Answer(head, _) => {
                attempt.status = Some(head.status);
                attempt.upstream_request_id = tell::upstream_request_id(&head.headers, secrets);
            }
            Held::Error(error) => {
                attempt.error = Some(tell::error_text(&common.classifier, error, secrets));
            }
            Held::Local(..) => {}
        }
        attempt
    }

    /// The last outcome, as the caller gets it.
    fn let_go<B: Body, E: 'static>(
        &mut self,
        held: Held<B, E>,
        answered: Answered,
    ) -> Result<Response<FailoverBody<B>>, E> {
        let Answered { verdict, ours, stamp, in_flight, mut pools } = answered;
        self.done = true;
        match held {
            Held::Local(cause, grpc) => Ok(self.answer(&cause, grpc)),
            Held::Error(error) => {
                if self.reporter().is_some() {
                    let common = self.common();
                    // The pools below have their secrets in it, whether or not this driver has one.
                    pools.extend(common.secrets.clone());
                    let secrets = tell::Secrets(&pools);
                    let text = tell::error_text(&common.classifier, &error, secrets);
                    self.tell(Outcome::Error(text), tell::Kind::Failed);
                }
                Err(error)
            }
            Held::Answer(mut head, mut body) => {
                let local = head.extensions.get::<Cause>().filter(|c| c.origin == Origin::Local);
                let local = local.map(|cause| Outcome::Local(cause.code));
                if let (true, Verdict::Unauthorized(reason)) = (ours, verdict) {
                    let cause = Cause::upstream(Code::from(reason));
                    if self.common().mode == AuthFailureMode::Replace {
                        let answer = self.live.config.local.answer(&cause, self.is_grpc());
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
                self.tell(outcome, tell::Kind::Failed);
                Ok(self.hand_out(head, body, stamp, in_flight))
            }
        }
    }
}

/// What is known of the last attempt.
struct Answered {
    verdict: Verdict,
    /// It was sent with a credential of a pool of this driver, which has taken the blame.
    ours: bool,
    stamp: Option<Stamp>,
    in_flight: Option<InFlight>,
    /// The pools below, whose secrets may stand in an error.
    pools: Vec<Pool>,
}

/// Whether the rotations below, of other drivers, will have an account for the next attempt: an
/// answer is not given up for one that they would answer themselves.
fn can_be_served(next: Next, pools: &[Pool], facts: &mut Facts<'_>) -> bool {
    let wait = match next {
        Next::Pass => return true,
        Next::Again | Next::FallBack => Duration::ZERO,
        Next::After(wait) => wait,
    };
    if pools.is_empty() {
        return true;
    }
    let Some(at) = facts.now.get().checked_add(wait) else { return true };
    let (options, ledger) = (facts.options, facts.ledger);
    pools.iter().all(|pool| will_serve(pool, options, ledger, at, &mut facts.wanted))
}

fn followed(next: Next) -> Followed {
    match next {
        Next::After(wait) => Followed::Retried(wait),
        Next::FallBack => Followed::FellBack,
        Next::Again | Next::Pass => Followed::Rotated,
    }
}
