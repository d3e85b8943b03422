//! What a driver keeps of one request, from its beginning to a success or a local answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    header::{AUTHORIZATION, CONTENT_TYPE},
    request,
};
use tokio::time::Instant;

use super::{
    config::{AuthFailureMode, Settings},
    local,
    outer::{Outer, address},
    service::Live,
    snapshot::Snapshot,
    source::{Head, Source},
    tell,
};
use crate::{
    classify::Cause,
    clock::Now,
    report::{NotResent, ReporterHandle},
    stage::{
        Rewritten,
        handle::Handle,
        ledger::{self, Ledger},
        models::{Model, Wanted},
        options::RequestOptions,
        retry::{IDEMPOTENCY_KEY, repeatable},
        stage::{Ask, Draft, Stage},
    },
};

/// Gives the kept body in one piece.
pub(crate) type GetBytes<'a> = &'a dyn Fn() -> Option<Bytes>;

/// See the [module](self). Dropped before its end, it tells that the request was abandoned.
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
pub(crate) struct Run<S, St: Stage, K> {
    pub(crate) live: Arc<Live<S, St, K>>,
    pub(super) st: St::State,
    pub(super) snapshot: Option<Snapshot>,
    /// Why the request cannot be sent again, whatever happens.
    pub(crate) barred: Option<NotResent>,
    pub(super) ledger: Option<Arc<Ledger>>,
    pub(super) options: Option<Box<RequestOptions>>,
    pub(super) started: Option<Instant>,
    /// `started` was read for this driver, and not for one further out.
    just_started: bool,
    /// The model that the caller's request names, when somebody has asked.
    pub(super) model: Option<Box<Model>>,
    /// What outer layers have put on the request.
    pub(super) outer: Outer,
    /// The send of an outer driver that this request is part of; 0 for none.
    pub(super) parent: u32,
    /// The send in flight; 0 while nobody below is told of it.
    pub(super) send: u32,
    /// A layer outside reports this request.
    pub(super) reported: bool,
    /// A credential of the caller's own was on the request; known here where no snapshot tells it.
    pub(super) authorized: bool,
    /// Doing the work twice is harmless; known here where no snapshot tells it.
    pub(super) harmless: bool,
    pub(super) done: bool,
}

impl<S, St: Stage, K> Run<S, St, K> {
    #[allow(clippy::too_many_lines)] // A list of facts, each of them once.
    /// Takes in what the request asks for, and what other attempts will need; `hopeless` says that
    /// there will most likely be none.
    #[inline(always)] // Written where it stays: what was just written is slow to move.
    #[allow(clippy::inline_always)]
    pub(crate) fn begin(live: &Arc<Live<S, St, K>>, head: &request::Parts, hopeless: bool) -> Self {
        let common = &live.config.common;
        let (mut options, mut handle) = (None, None);
        if !head.extensions.is_empty() {
            options = head.extensions.get::<RequestOptions>().cloned().map(Box::new);
            handle = head.extensions.get::<Handle>().cloned();
        }
        let resendable = !hopeless && live.has_spare() && live.config.stages.may_resend();
        // Only a deadline, of this driver or of one below, and a report ask when the request came in.
        let timed = resendable || common.reporter.is_some() || common.announce;
        let known = handle.as_ref().and_then(|handle| handle.ledger.started());
        // What an outer driver read may be long ago: it has waited since.
        let started = timed.then(|| known.unwrap_or_else(Instant::now));
        let just_started = timed && known.is_none();
        // The handle is put on each attempt anew: alone, it need not be kept.
        let handle_only = handle.is_some() && head.extensions.len() == 1;
        let named = options.as_deref().and_then(RequestOptions::wanted_model);
        let mut model = named.map(|model| Box::new(Model::Named(model.clone(), None)));
        let (mut ledger, mut parent, mut reported) = (None, 0, false);
        let mut outer = Outer::default();
        if let Some(handle) = handle {
            (parent, reported) = (handle.send, handle.reported);
            if let Some(instead) = &handle.model {
                model = Some(Box::new(Model::Named(instead.clone(), None)));
            }
            outer = Outer { stamp: handle.stamp, model: handle.model };
            ledger = Some(handle.ledger);
        } else if common.announce {
            ledger = Some(Arc::new(Ledger::new(started)));
        }
        if let Some(ledger) = &ledger {
            ledger.limit(common.set);
        }
        let st = live.config.stages.begin(head, options.as_deref(), outer.stamp.as_ref());
        let snapshot = if resendable {
            Some(Snapshot::whole(head, handle_only))
        } else if !hopeless && live.config.stages.rotates() && is_named_outside(ledger.as_deref()) {
            // A failure may be about the model only, which is read when it is needed.
            Some(Snapshot::whole(head, true))
        } else if common.reporter.is_some() || common.mode == AuthFailureMode::Replace {
            Some(Snapshot::brief(head))
        } else {
            None
        };
        // A snapshot knows both, and is asked when it matters: after a failure.
        let unkept = reported && snapshot.is_none();
        let authorized = unkept && tell::is_authorized(head);
        let harmless = unkept && {
            let keyed = || head.headers.contains_key(&IDEMPOTENCY_KEY);
            repeatable(&head.method, false, options.as_deref()) || keyed()
        };
        Self {
            live: live.clone(),
            st,
            snapshot,
            barred: (!resendable).then_some(NotResent::SentOnce),
            ledger,
            options,
            started,
            just_started,
            model,
            outer,
            parent,
            send: 0,
            reported,
            authorized,
            harmless,
            done: false,
        }
    }

    pub(super) fn common(&self) -> &Settings {
        &self.live.config.common
    }

    /// Tells inner layers where the model can be read, should they need it.
    pub(crate) fn tell_source(&self, bytes: GetBytes<'_>) {
        let common = self.common();
        if let (true, Some(at), Some(ledger)) = (common.announce, &common.model_at, &self.ledger) {
            let body = if at.needs_body() { bytes() } else { None };
            ledger.set_source(ledger::Source { at: at.clone(), body });
        }
    }

    /// The present, while the request has just come in.
    fn now(&self) -> Now {
        self.started.filter(|_| self.just_started).map_or_else(Now::unread, Now::at)
    }

    /// Chooses what the first attempt will use.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        head: &request::Parts,
        bytes: GetBytes<'_>,
    ) -> Result<(), Cause> {
        let mut now = self.now();
        let mut model = self.model.take().map_or(Model::Unread, |model| *model);
        let source = Source {
            at: self.live.config.common.model_at.as_ref(),
            ledger: self.ledger.as_deref(),
            head: Head::Parts(head),
            bytes,
        };
        let mut read = || source.read();
        let mut wanted = Wanted::new(None, &mut model, &mut read);
        let mut ask = Ask {
            options: self.options.as_deref(),
            ledger: self.ledger.as_deref(),
            now: &mut now,
            wanted: &mut wanted,
            at: None,
        };
        let reserved = self.live.config.stages.reserve(&mut self.st, &mut ask);
        self.model = model.boxed();
        reserved
    }

    /// Why a request whose body is to be awaited is surely answered here: nobody waits for that.
    #[cold]
    pub(crate) fn refuse_at_once(&mut self, head: &request::Parts) -> Option<Cause> {
        if !self.live.config.stages.surely_dead() {
            return None;
        }
        let model = self.model.clone();
        let refused = self.reserve(head, &|| None).err();
        // What stands in the body has not been looked for.
        self.model = model;
        refused
    }

    /// Time has passed since the request came in.
    pub(crate) const fn waited(&mut self) {
        self.just_started = false;
    }

    /// Puts what was chosen on an attempt that is sent at once.
    #[inline]
    pub(crate) fn prepare(&mut self, head: &mut request::Parts, first: bool) -> Result<(), Cause> {
        let mut now = if first { self.now() } else { Now::unread() };
        let stages = &self.live.config.stages;
        let shared = self.parent != 0 || self.live.config.common.announce;
        let instead = stages.model(&self.st).cloned();
        // Whoever needed the model has read it when the account was reserved.
        let mut read = || Model::Absent(NotResent::NoModel);
        let mut known = self.model.as_deref().cloned().unwrap_or_default();
        let mut wanted = Wanted::new(instead.clone(), &mut known, &mut read);
        let mut draft = Draft {
            head,
            options: self.options.as_deref(),
            ledger: self.ledger.as_deref(),
            now: &mut now,
            wanted: &mut wanted,
            stamp: self.outer.stamp.clone(),
            verified: false,
            wants_stamp: shared,
        };
        stages.prepare(&mut self.st, &mut draft)?;
        let stamp = draft.stamp;
        if let (true, Some(ledger)) = (shared, &self.ledger) {
            self.send = ledger.next_send();
            let model = instead.or_else(|| self.outer.model.clone());
            let reported = self.reported || self.live.config.common.reporter.is_some();
            address(&mut head.extensions, ledger, self.send, stamp, model, reported);
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

    /// Puts the model on an attempt that a fallback has chosen. `None`: that cannot be done.
    pub(crate) fn rewrite(
        &self,
        head: &mut request::Parts,
        bytes: GetBytes<'_>,
    ) -> Option<Rewritten> {
        let Some(model) = self.live.config.stages.model(&self.st) else {
            return Some(Rewritten::SameBody);
        };
        let at = self.live.config.common.model_at.as_ref()?;
        let span = match self.model.as_deref() {
            Some(Model::Named(_, span)) => span.as_ref(),
            _ => None,
        };
        let body = if at.needs_body() { bytes() } else { None };
        at.write(head, body.as_ref(), span, model)
    }

    /// Whether the kept body may yet be needed to find out which model it names.
    pub(super) fn may_read_body(&self) -> bool {
        let at = self.common().model_at.as_ref();
        self.model.is_none() && at.is_some_and(crate::stage::ModelAt::needs_body)
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
}

/// Whether a fallback further out has said where requests name their model.
fn is_named_outside(ledger: Option<&Ledger>) -> bool {
    ledger.is_some_and(|ledger| ledger.source().is_some())
}
