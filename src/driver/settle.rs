//! What follows a failure: what is learned from it, and whether the request is sent again.

use std::time::Duration;

use http::{Response, StatusCode, response};
use http_body::Body;

use super::{
    body::FailoverBody,
    config::AuthFailureMode,
    local::{self, FAILOVER_AUTH},
    nap::{self, Nap},
    run::Run,
    tell,
};
use crate::{
    classify::{Cause, Code, Origin, Verdict},
    clock::Now,
    report::{Attempt, Followed, NotResent, Outcome},
    stage::{
        ledger::{Ledger, Note},
        options::RequestOptions,
        retry::{IDEMPOTENCY_KEY, repeatable},
        stage::{Facts, Next, Stage, Stamp},
    },
};

/// The newest outcome, held until the next attempt is reserved.
pub(crate) enum Held<B: Body, E> {
    Answer(response::Parts, FailoverBody<B>),
    Error(E),
}

/// What follows an outcome.
pub(crate) enum Settled<B: Body, E, N> {
    /// It goes out.
    Done(Result<Response<FailoverBody<B>>, E>),
    /// The request is sent again, after this wait, with what was built for it.
    Again(Option<Nap>, N),
}

impl<S, St: Stage, K> Run<S, St, K> {
    /// Learns from a failure, and either reserves the next attempt or lets the outcome go out.
    pub(crate) fn settle<B: Body, E: 'static, N>(
        &mut self,
        held: Held<B, E>,
        verdict: Verdict,
        build: impl FnOnce(&Self) -> Option<N>,
    ) -> Settled<B, E, N> {
        let ledger = self.ledger();
        let note = self.hear(&ledger);
        let cause = held.cause();
        let local = cause.is_some_and(|cause| cause.origin == Origin::Local);
        let mut now = Now::unread();
        let mut facts = Facts {
            status: held.status(),
            headers: held.headers(),
            local,
            unsent: note.is_some_and(|note| note.unsent),
            charged: note.is_some_and(|note| note.charged),
            options: self.options.as_deref(),
            ledger: Some(&ledger),
            deadline: self.deadline(),
            repeatable: self.is_repeatable(),
            barred: self.barred(&ledger),
            random: fastrand::f64(),
            soonest: note.and_then(|note| note.soonest),
            ..Facts::of(verdict, &mut now)
        };
        let stages = &self.live.config.stages;
        stages.learn(&mut self.st, &mut facts);
        let stamp = stages.stamp(&self.st);
        let written = !local && self.is_told();
        if written && note.is_none() {
            ledger.write(self.parent, self.attempt(&held, verdict, stamp.as_ref()));
        }
        let next = stages.next(&mut self.st, &mut facts);
        let (soonest, charged, mut why) = (facts.soonest, facts.charged, facts.why);
        match self.take(&ledger, next, build) {
            Ok((nap, built)) => {
                if written {
                    ledger.follow(self.parent, followed(next));
                }
                return Settled::Again(nap, built);
            }
            Err(Some(other)) => why = other,
            Err(None) => {}
        }
        if written && why != NotResent::Final {
            ledger.follow(self.parent, Followed::NotResent(why));
        }
        let ours = stamp.is_some() && !charged && !local;
        // A rotation of this driver's own would have taken care of it.
        let unsent = note.is_some_and(|note| note.unsent) && !stages.rotates();
        self.leave(&ledger, Note { send: self.parent, soonest, charged: charged || ours, unsent });
        Settled::Done(self.let_go(held, verdict, stamp.filter(|_| ours)))
    }

    /// What a driver below has written about the attempt.
    fn hear(&self, ledger: &Ledger) -> Option<Note> {
        if self.send == 0 {
            return None;
        }
        ledger.adopt(self.send, self.parent);
        ledger.take_note(self.send)
    }

    fn leave(&self, ledger: &Ledger, note: Note) {
        if self.parent != 0 {
            ledger.leave_note(note);
        }
    }

    fn is_repeatable(&self) -> bool {
        self.snapshot.as_ref().is_some_and(|kept| {
            let keyed = kept.header(&IDEMPOTENCY_KEY).is_some();
            repeatable(kept.method(), keyed, self.options.as_deref())
        })
    }

    fn barred(&self, ledger: &Ledger) -> Option<NotResent> {
        if !self.resendable {
            Some(NotResent::SentOnce)
        } else if ledger.attempts() >= self.attempts_limit() {
            Some(NotResent::Attempts)
        } else {
            None
        }
    }

    /// Takes what the next attempt needs; the held answer is given up only after this.
    fn take<N>(
        &self,
        ledger: &Ledger,
        next: Next,
        build: impl FnOnce(&Self) -> Option<N>,
    ) -> Result<(Option<Nap>, N), Option<NotResent>> {
        let wait = match next {
            Next::Pass => return Err(None),
            Next::Again => Duration::ZERO,
            Next::After(wait) => wait,
        };
        let nap =
            if wait.is_zero() { None } else { Some(nap::sleep(wait).ok_or(NotResent::NoTimer)?) };
        let built = build(self).ok_or(NotResent::SentOnce)?;
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
        let config = self.common();
        let stamp = stamp.or(self.outer_stamp.as_deref());
        let redact = tell::Secrets(config.secrets.as_ref());
        let mut attempt = Attempt::new(verdict);
        attempt.account = stamp.map(|stamp| stamp.id.clone());
        attempt.generation = stamp.map(|stamp| stamp.generation);
        attempt.model = self.options.as_deref().and_then(RequestOptions::wanted_model).cloned();
        attempt.credential = stamp.is_some() || self.is_authorized();
        match held {
            Held::Answer(head, _) => {
                attempt.status = Some(head.status);
                attempt.upstream_request_id = tell::upstream_request_id(&head.headers, redact);
            }
            Held::Error(error) => {
                attempt.error = Some(tell::error_text(&config.classifier, error, redact));
            }
        }
        attempt
    }

    /// The last outcome, as the caller gets it.
    fn let_go<B: Body, E: 'static>(
        &mut self,
        held: Held<B, E>,
        verdict: Verdict,
        ours: Option<Stamp>,
    ) -> Result<Response<FailoverBody<B>>, E> {
        self.done = true;
        match held {
            Held::Error(error) => {
                let redact = tell::Secrets(self.common().secrets.as_ref());
                let text = || tell::error_text(&self.common().classifier, &error, redact);
                if self.reporter().is_some() {
                    self.tell(Outcome::Error(text()), tell::Kind::Failed);
                }
                Err(error)
            }
            Held::Answer(mut head, mut body) => {
                let local = head.extensions.get::<Cause>().filter(|c| c.origin == Origin::Local);
                let outcome = match local {
                    Some(cause) => Outcome::Local(cause.code),
                    None => Outcome::Answer(head.status),
                };
                self.tell(outcome, tell::Kind::Failed);
                if let (Some(_), Verdict::Unauthorized(reason)) = (&ours, verdict) {
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
                Ok(self.hand_out(head, body, ours))
            }
        }
    }
}

impl<B: Body, E> Held<B, E> {
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Answer(head, _) => head.extensions.get().copied(),
            Self::Error(_) => None,
        }
    }

    fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(head, _) => Some(head.status),
            Self::Error(_) => None,
        }
    }

    fn headers(&self) -> Option<&http::HeaderMap> {
        match self {
            Self::Answer(head, _) => Some(&head.headers),
            Self::Error(_) => None,
        }
    }
}

fn followed(next: Next) -> Followed {
    match next {
        Next::After(wait) => Followed::Retried(wait),
        _ => Followed::Rotated,
    }
}
