//! What a driver keeps of one request, and what it decides with it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Response, StatusCode, header::{AUTHORIZATION, CONTENT_TYPE}, request, response};
use http_body::Body;
use tokio::time::Instant;

use super::{
    body::FailoverBody,
    config::{AuthFailureMode, Settings},
    local::{self},
    served::ServedBy,
    service::Live,
    snapshot::Snapshot,
    tell,
};
use crate::{
    classify::{Cause, Verdict},
    clock::Now,
    report::{Outcome, ReporterHandle},
    stage::{
        ledger::{Handle, Ledger, Note},
        options::RequestOptions,
        stage::{Ask, Draft, Facts, Stage, Stamp},
    },
};

/// See the [module](self). Dropped before its end, it tells that the request was abandoned.
#[allow(clippy::struct_excessive_bools)] // Four facts that have nothing to do with each other.
pub(crate) struct Run<S, St: Stage, K> {
    pub(crate) live: Arc<Live<S, St, K>>,
    pub(super) st: St::State,
    pub(super) snapshot: Option<Snapshot>,
    /// Whether the body is kept, so that the request can be sent again.
    pub(crate) resendable: bool,
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) options: Option<Box<RequestOptions>>,
    pub(super) started: Option<Instant>,
    /// The credential that an outer rotation put on the request.
    pub(super) outer_stamp: Option<Box<Stamp>>,
    /// The send of an outer driver that this request is part of; 0 for none.
    pub(super) parent: u32,
    /// The send in flight; 0 while nobody below is told of it.
    pub(super) send: u32,
    /// A layer outside reports this request.
    pub(super) reported: bool,
    /// A credential of the caller's own was on the request.
    pub(super) authorized: bool,
    pub(super) done: bool,
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
        let started = (resendable || config.reporter.is_some()).then(|| {
            let known = handle.as_ref().and_then(|handle| handle.ledger.started());
            known.unwrap_or_else(Instant::now)
        });
        // The handle is put on each attempt anew: alone, it need not be kept.
        let handle_only = handle.is_some() && head.extensions.len() == 1;
        let (mut ledger, mut parent, mut reported, mut outer_stamp) = (None, 0, false, None);
        if let Some(handle) = handle {
            (parent, reported) = (handle.send, handle.reported);
            outer_stamp = handle.stamp.map(Box::new);
            ledger = Some(handle.ledger);
        } else if config.announce {
            ledger = Some(Arc::new(Ledger::new(started)));
        }
        let st = live.config.stages.begin(head, options.as_deref(), outer_stamp.is_some());
        // A whole snapshot has the header, and is asked when it matters.
        let authorized =
            !resendable && (reported || config.reporter.is_some()) && tell::is_authorized(head);
        let snapshot = if resendable {
            Some(Snapshot::whole(head, handle_only))
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
            outer_stamp,
            parent,
            send: 0,
            reported,
            authorized,
            done: false,
        }
    }

    pub(super) fn common(&self) -> &Settings {
        &self.live.config.common
    }

    /// Chooses what the first attempt will use.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), Cause> {
        let mut now = self.started.map_or_else(Now::unread, Now::at);
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
        let mut now = match self.started {
            Some(started) if first => Now::at(started),
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

    pub(super) fn is_grpc(&self) -> bool {
        let content_type = self.snapshot.as_ref().and_then(|kept| kept.header(&CONTENT_TYPE));
        local::is_grpc(content_type.map(str::as_bytes))
    }

    /// Whether the caller put a credential on.
    pub(super) fn is_authorized(&self) -> bool {
        self.authorized || self.snapshot.as_ref().is_some_and(|kept| kept.has(&AUTHORIZATION))
    }

    /// Whether somebody is going to tell of this request's failures.
    pub(super) fn is_told(&self) -> bool {
        self.reported || self.common().reporter.is_some()
    }

    /// The one who tells of this request, when it is this driver.
    pub(super) fn reporter(&self) -> Option<&ReporterHandle> {
        self.common().reporter.as_ref().filter(|_| !self.reported)
    }

    pub(super) fn ledger(&mut self) -> Arc<Ledger> {
        let started = self.started;
        self.ledger.get_or_insert_with(|| Arc::new(Ledger::new(started))).clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let asked = self.options.as_deref().and_then(RequestOptions::max_time);
        let limit = self.common().deadline;
        self.started?.checked_add(asked.map_or(limit, |asked| asked.min(limit)))
    }

    pub(super) fn attempts_limit(&self) -> u32 {
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
        let mut facts = Facts {
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
        let stamp =
            self.common().served_by.then(|| self.live.config.stages.stamp(&self.st)).flatten();
        self.hand_out(head, body, stamp)
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

    pub(super) fn hand_out<B: Body>(
        &self,
        mut head: response::Parts,
        body: FailoverBody<B>,
        stamp: Option<Stamp>,
    ) -> Response<FailoverBody<B>> {
        let config = self.common();
        let stages = &self.live.config.stages;
        if config.served_by {
            let attempts = self.ledger.as_ref().map_or(1, |ledger| ledger.attempts());
            head.extensions.insert(ServedBy::new(stamp.map(|stamp| stamp.id), attempts));
        }
        let in_flight = stages.in_flight(&self.st);
        Response::from_parts(head, body.with_in_flight(in_flight))
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
            let unsent = self.outer_stamp.is_some()
                && cause.code.is_about_a_credential()
                && !self.live.config.stages.rotates();
            let soonest = cause.retry_after;
            ledger.leave_note(Note { send: self.parent, soonest, charged: false, unsent });
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

    pub(super) fn tell(&self, outcome: Outcome, kind: tell::Kind) {
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
