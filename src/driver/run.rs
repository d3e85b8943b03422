//! What a driver keeps of one request, and what it decides with it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Extensions, Response, StatusCode, header::CONTENT_TYPE, request, response};
use http_body::Body;
use tokio::time::Instant;

use super::{
    body::FailoverBody,
    config::{AuthFailureMode, Settings},
    local::{self, FAILOVER_AUTH},
    nap::{self, Nap},
    served::ServedBy,
    service::Live,
    snapshot::Snapshot,
    tell,
};
use crate::{
    classify::{Cause, Code, Origin, Verdict},
    clock::Now,
    credential::InFlight,
    report::{Attempt, Followed, NotResent, Outcome, ReporterHandle},
    stage::{
        ledger::{Handle, Ledger, Note},
        options::RequestOptions,
        retry::{IDEMPOTENCY_KEY, repeatable},
        rotation::will_serve,
        stage::{Ask, Draft, Facts, Next, Stage, Stamp},
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

/// See the [module](self). Dropped before its end, it tells that the request was abandoned.
pub(crate) struct Run<S, St: Stage, K> {
    pub(crate) live: Arc<Live<S, St, K>>,
    st: St::State,
    snapshot: Option<Snapshot>,
    /// Whether the body is kept, so that the request can be sent again.
    pub(crate) resendable: bool,
    ledger: Option<Arc<Ledger>>,
    options: Option<Box<RequestOptions>>,
    started: Option<Instant>,
    /// The same, when it was read for this driver.
    now: Option<Instant>,
    /// The credential that an outer rotation put on the request.
    outer_stamp: Option<Box<Stamp>>,
    /// The send of an outer driver that this request is part of; 0 for none.
    parent: u32,
    /// The send in flight; 0 while nobody below is told of it.
    send: u32,
    /// A layer outside reports this request.
    reported: bool,
    /// A credential of the caller's own was on the request.
    authorized: bool,
    /// Doing the work twice is harmless; known here where no whole snapshot tells it.
    harmless: bool,
    done: bool,
}

impl<S, St: Stage, K> Run<S, St, K> {
    /// Takes in what the request asks for, and what other attempts will need.
    pub(crate) fn begin(live: &Arc<Live<S, St, K>>, head: &request::Parts) -> Self {
        let config = &live.config.common;
        let (mut options, mut handle) = (None, None);
        if !head.extensions.is_empty() {
            options = head.extensions.get::<RequestOptions>().cloned().map(Box::new);
            handle = head.extensions.get::<Handle>().cloned();
        }
        let resendable = live.has_spare() && live.config.stages.may_resend();
        // Only a deadline and a report ask when the request came in.
        let timed = resendable || config.reporter.is_some();
        let known = handle.as_ref().and_then(|handle| handle.ledger.started());
        // What an outer driver read may be long ago: it has waited since.
        let now = (timed && known.is_none()).then(Instant::now);
        let started = if timed { known.or(now) } else { None };
        let (mut ledger, mut parent, mut reported, mut outer_stamp) = (None, 0, false, None);
        if let Some(handle) = handle {
            (parent, reported) = (handle.send, handle.reported);
            outer_stamp = handle.stamp.map(Box::new);
            ledger = Some(handle.ledger);
        } else if config.announce {
            ledger = Some(Arc::new(Ledger::new(started)));
        }
        let st = live.config.stages.begin(head, options.as_deref(), outer_stamp.as_deref());
        let told = reported || config.reporter.is_some();
        let authorized = told && tell::is_authorized(head);
        // What is never sent again is asked about only by the trail, which says why.
        let harmless = told && !resendable && {
            let keyed = || head.headers.contains_key(&IDEMPOTENCY_KEY);
            repeatable(&head.method, false, options.as_deref()) || keyed()
        };
        let snapshot = if resendable {
            Some(Snapshot::whole(head))
        } else if config.reporter.is_some() || config.mode == AuthFailureMode::Replace {
            Some(Snapshot::brief(head, &tell::NEEDED))
        } else {
            None
        };
        Self {
            live: live.clone(),
            st,
            snapshot,
            resendable,
            ledger,
            options,
            started,
            now,
            outer_stamp,
            parent,
            send: 0,
            reported,
            authorized,
            harmless,
            done: false,
        }
    }

    fn common(&self) -> &Settings {
        &self.live.config.common
    }

    /// Chooses what the first attempt will use.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), Cause> {
        let mut now = self.now.map_or_else(Now::unread, Now::at);
        let mut ask = Ask {
            options: self.options.as_deref(),
            ledger: self.ledger.as_deref(),
            now: &mut now,
            at: None,
        };
        self.live.config.stages.reserve(&mut self.st, &mut ask)
    }

    /// Puts what was chosen on an attempt that is sent at once.
    #[inline]
    pub(crate) fn prepare(&mut self, head: &mut request::Parts, first: bool) -> Result<(), Cause> {
        let mut now = match self.now {
            Some(now) if first => Now::at(now),
            _ => Now::unread(),
        };
        let shared = self.parent != 0 || self.common().announce;
        let mut draft = Draft {
            head,
            options: self.options.as_deref(),
            ledger: self.ledger.as_deref(),
            now: &mut now,
            stamp: self.outer_stamp.as_deref().cloned(),
            verified: false,
            wants_stamp: shared,
        };
        self.live.config.stages.prepare(&mut self.st, &mut draft)?;
        let stamp = draft.stamp;
        if let (true, Some(ledger)) = (shared, &self.ledger) {
            self.send = ledger.next_send();
            let reported = self.reported || self.common().reporter.is_some();
            address(&mut head.extensions, ledger, self.send, stamp, reported);
        }
        Ok(())
    }

    /// The request as the caller sent it.
    pub(crate) fn rebuild(&self) -> Option<request::Parts> {
        let mut head = self.snapshot.as_ref()?.rebuild()?;
        for deny in &self.common().deny {
            deny(&mut head.extensions);
        }
        Some(head)
    }

    fn is_grpc(&self) -> bool {
        let content_type = self.snapshot.as_ref().and_then(|kept| kept.header(&CONTENT_TYPE));
        local::is_grpc(content_type.map(str::as_bytes))
    }

    /// Whether somebody is going to tell of this request's failures.
    fn is_told(&self) -> bool {
        self.reported || self.common().reporter.is_some()
    }

    /// The one who tells of this request, when it is this driver.
    fn reporter(&self) -> Option<&ReporterHandle> {
        self.common().reporter.as_ref().filter(|_| !self.reported)
    }

    fn ledger(&mut self) -> Arc<Ledger> {
        let started = self.started;
        self.ledger.get_or_insert_with(|| Arc::new(Ledger::new(started))).clone()
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

    /// The upstream did what it was asked for.
    #[inline]
    pub(crate) fn succeed<B: Body>(
        &mut self,
        head: response::Parts,
        body: FailoverBody<B>,
    ) -> Response<FailoverBody<B>> {
        let mut now = Now::unread();
        let charged = self.is_credited();
        let mut facts = Facts {
            charged,
            headers: Some(&head.headers),
            status: Some(head.status),
            options: self.options.as_deref(),
            ledger: self.ledger.as_deref(),
            ..Facts::of(Verdict::Success, &mut now)
        };
        self.live.config.stages.learn(&mut self.st, &mut facts);
        if self.ledger.is_some() {
            self.recovered(head.status);
        }
        self.done = true;
        let stages = &self.live.config.stages;
        let (mut stamp, in_flight) = (stages.stamp(&self.st), stages.in_flight(&self.st));
        if let Some(ledger) = self.ledger.as_ref().filter(|_| self.parent != 0) {
            // An outer rotation's credential was not the one that was sent.
            if charged || self.outer_stamp.is_some() && stamp.is_some() {
                ledger.leave_note(Note::credit(self.parent));
            }
        }
        stamp = stamp.filter(|_| !charged);
        self.hand_out(head, body, stamp, in_flight)
    }

    /// Whether a rotation below has put its own credential on the attempt that succeeded.
    fn is_credited(&self) -> bool {
        let ledger = self.ledger.as_ref().filter(|_| self.send != 0);
        ledger.and_then(|ledger| ledger.take_note(self.send)).is_some_and(|note| note.charged)
    }

    /// After failures that a success has made good.
    fn recovered(&mut self, status: StatusCode) {
        let Some(ledger) = &self.ledger else { return };
        if self.send != 0 {
            ledger.adopt(self.send, self.parent);
        }
        if self.common().recovered && self.reporter().is_some() && ledger.has_lines(self.parent) {
            self.tell(Outcome::Answer(status), tell::Kind::Recovered);
        }
    }

    fn hand_out<B: Body>(
        &self,
        mut head: response::Parts,
        body: FailoverBody<B>,
        stamp: Option<Stamp>,
        in_flight: Option<InFlight>,
    ) -> Response<FailoverBody<B>> {
        if self.common().served_by {
            let attempts = self.ledger.as_ref().map_or(1, |ledger| ledger.attempts());
            // A rotation below has said it first, and knows it better.
            let said = head.extensions.get::<ServedBy>().and_then(|served| served.account.clone());
            let account = said.or_else(|| stamp.map(|stamp| stamp.id));
            head.extensions.insert(ServedBy::new(account, attempts));
        }
        Response::from_parts(head, body.with_in_flight(in_flight))
    }

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
            unsent: note.as_ref().is_some_and(|note| note.unsent),
            charged: note.as_ref().is_some_and(|note| note.charged),
            options: self.options.as_deref(),
            ledger: Some(&ledger),
            deadline: self.deadline(),
            repeatable: self.is_repeatable(),
            barred: self.barred(&ledger),
            random: fastrand::f64(),
            soonest: note.as_ref().and_then(|note| note.soonest),
            ..Facts::of(verdict, &mut now)
        };
        let stages = &self.live.config.stages;
        stages.learn(&mut self.st, &mut facts);
        // What is asked of the stages next may let go of the account that has answered.
        let (stamp, in_flight) = (stages.stamp(&self.st), stages.in_flight(&self.st));
        let written = !local && self.is_told();
        if written && note.is_none() {
            ledger.write(self.parent, self.attempt(&held, verdict, stamp.as_ref()));
        }
        let mut pools = note.map(|note| note.pools).unwrap_or_default();
        let mut next = stages.next(&mut self.st, &mut facts);
        if let Next::After(wait) = next {
            // A rotation below would have nobody to serve: the answer is not given up for that.
            let (at, options) = (facts.now.get().checked_add(wait), facts.options);
            let serves = |pool| at.is_none_or(|at| will_serve(pool, options, Some(&ledger), at));
            if !pools.iter().all(serves) {
                stages.cancel(&mut self.st);
                next = facts.decline(NotResent::NoAccount);
            }
        }
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
        let unsent = local && stamp.is_none() && self.outer_stamp.is_some();
        pools.extend(self.live.config.stages.pool(&self.st).cloned());
        let charged = charged || ours;
        self.leave(&ledger, Note { send: self.parent, soonest, charged, unsent, pools });
        let stamp = stamp.filter(|_| ours);
        let answered = Answered { verdict, ours, stamp, in_flight };
        Settled::Done(self.let_go(held, answered))
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
        // A brief snapshot has no key.
        self.harmless
            || self.snapshot.as_ref().is_some_and(|kept| {
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
        let nap = match wait.is_zero() {
            true => None,
            false => Some(nap::sleep(wait).ok_or(NotResent::NoTimer)?),
        };
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
        attempt.credential = stamp.is_some() || self.authorized;
        match held {
            Held::Answer(head, _) => {
                attempt.status = Some(head.status);
                attempt.upstream_request_id = tell::upstream_request_id(&head.headers, &redact);
            }
            Held::Error(error) => {
                attempt.error = Some(tell::error_text(&config.classifier, error, &redact))
            }
        }
        attempt
    }

    /// The last outcome, as the caller gets it.
    fn let_go<B: Body, E: 'static>(
        &mut self,
        held: Held<B, E>,
        answered: Answered,
    ) -> Result<Response<FailoverBody<B>>, E> {
        let Answered { verdict, ours, stamp, in_flight } = answered;
        self.done = true;
        match held {
            Held::Error(error) => {
                let redact = tell::Secrets(self.common().secrets.as_ref());
                let text = || tell::error_text(&self.common().classifier, &error, &redact);
                if self.reporter().is_some() {
                    self.tell(Outcome::Error(text()), tell::Kind::Failed);
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

    /// Answers in the upstream's place.
    pub(crate) fn answer<B: Body>(
        &mut self,
        cause: &Cause,
        grpc: bool,
    ) -> Response<FailoverBody<B>> {
        self.done = true;
        self.tell(Outcome::Local(cause.code), tell::Kind::Failed);
        if let (true, Some(ledger)) = (self.parent != 0, &self.ledger) {
            let unsent = self.outer_stamp.is_some() && cause.code.is_about_a_credential();
            let soonest = cause.retry_after;
            let pools = Vec::new();
            ledger.leave_note(Note { send: self.parent, soonest, charged: false, unsent, pools });
        }
        let answer = self.live.config.local.answer(cause, grpc);
        self.hand_out_local(answer)
    }

    fn hand_out_local<B: Body>(&self, answer: Response<Bytes>) -> Response<FailoverBody<B>> {
        let (mut head, bytes) = answer.into_parts();
        if self.common().served_by {
            let sent = self.ledger.as_ref().map_or(0, |ledger| ledger.attempts().saturating_sub(1));
            head.extensions.insert(ServedBy::new(None, sent));
        }
        Response::from_parts(head, FailoverBody::local(bytes))
    }

    fn tell(&self, outcome: Outcome, kind: tell::Kind) {
        let Some(reporter) = self.reporter() else { return };
        let trail = match &self.ledger {
            Some(ledger) => ledger.take_trail(self.parent),
            None => Vec::new(),
        };
        let asked = tell::Asked {
            snapshot: self.snapshot.as_ref(),
            label: self.options.as_deref().and_then(RequestOptions::get_label),
            started: self.started,
            secrets: tell::Secrets(self.common().secrets.as_ref()),
        };
        tell::tell(reporter, &asked, trail, outcome, kind);
    }
}

/// What is known of the last attempt.
struct Answered {
    verdict: Verdict,
    /// It was sent with a credential of a pool of this driver, which has taken the blame.
    ours: bool,
    stamp: Option<Stamp>,
    in_flight: Option<InFlight>,
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

/// Puts on the request what drivers below need to know.
fn address(
    extensions: &mut Extensions,
    ledger: &Arc<Ledger>,
    send: u32,
    stamp: Option<Stamp>,
    reported: bool,
) {
    match extensions.get_mut::<Handle>() {
        Some(handle) => {
            handle.send = send;
            handle.stamp = stamp;
            handle.reported = reported;
        }
        None => {
            extensions.insert(Handle { ledger: ledger.clone(), send, stamp, reported });
        }
    }
}

fn followed(next: Next) -> Followed {
    match next {
        Next::After(wait) => Followed::Retried(wait),
        _ => Followed::Rotated,
    }
}

impl<S, St: Stage, K> Drop for Run<S, St, K> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let Some(ledger) = &self.ledger else { return };
        if self.send != 0 {
            ledger.adopt(self.send, self.parent);
        }
        if self.reporter().is_some() && ledger.has_lines(self.parent) {
            self.tell(Outcome::Dropped, tell::Kind::Abandoned);
        }
    }
}
