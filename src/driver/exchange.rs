//! What a driver keeps of one request, from its beginning to a success or a local answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    header::{AUTHORIZATION, CONTENT_TYPE},
    request,
};
use tokio::time::Instant;

use super::{
    config::{AuthFailureMode, Config, Settings},
    handoff::{Handoff, hand_down},
    model_source::{Head, Source},
    report,
    scratch::{RequestData, Scratch},
    service::Shared,
};
use crate::{
    answer::local,
    classify::Cause,
    clock::Now,
    report::{NotResent, ReporterHandle},
    stage::{
        Ask, Draft, Handle, Ledger, Model, ModelLookup, RequestOptions, Stage, ledger,
        model::Rewritten,
        retry::{IDEMPOTENCY_KEY, repeatable},
    },
};

/// Gives the kept body in one piece.
pub(crate) type GetBytes<'a> = &'a dyn Fn() -> Option<Bytes>;

/// See the [module](self). Dropped before its end, it tells that the request was abandoned.
pub(crate) struct Exchange<S, St: Stage, K> {
    pub(crate) shared: Arc<Shared<S, St, K>>,
    pub(crate) st: St::State,
    pub(crate) scratch: Scratch,
}

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// Takes in what the request asks for, and what other attempts will need; `hopeless` says that
    /// there will most likely be none.
    #[inline]
    pub(crate) fn begin(
        shared: &Arc<Shared<S, St, K>>,
        head: &request::Parts,
        hopeless: bool,
    ) -> Self {
        let mut scratch = Scratch::take();
        take_in(&mut scratch, shared, head, hopeless);
        let (options, stamp) = (scratch.options.as_ref(), scratch.handoff.stamp.as_ref());
        let st = shared.config.stages.begin(head, options, stamp);
        Self { shared: shared.clone(), st, scratch }
    }

    pub(crate) fn common(&self) -> &Settings {
        &self.shared.config.common
    }

    /// Tells inner layers where the model can be read, should they need it.
    pub(crate) fn announce_model_source(&self, bytes: GetBytes<'_>) {
        let common = self.common();
        if let (true, Some(at), Some(ledger)) =
            (common.announce, &common.model_at, &self.scratch.ledger)
        {
            let body = if at.needs_body() { bytes() } else { None };
            ledger.set_model_source(ledger::ModelSource { at: at.clone(), body });
        }
    }

    /// The present, while the request has just come in.
    fn now(&self) -> Now {
        self.scratch.started.filter(|_| self.scratch.just_started).map_or_else(Now::unread, Now::at)
    }

    /// Chooses what the first attempt will use.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        head: &request::Parts,
        bytes: GetBytes<'_>,
        last: bool,
    ) -> Result<(), Cause> {
        let mut now = self.now();
        let scratch = &mut *self.scratch;
        let ledger = scratch.ledger.as_deref();
        let at = self.shared.config.common.model_at.as_ref();
        let source = Source { at, ledger, head: Head::Parts(head), bytes };
        let mut read = || source.read();
        // It may be a fallback's attempt, whose credential is awaited.
        let instead = self.shared.config.stages.model(&self.st).cloned();
        let mut wanted = ModelLookup::new(instead, &mut scratch.model, &mut read);
        let mut ask = Ask {
            options: scratch.options.as_ref(),
            ledger,
            now: &mut now,
            model: &mut wanted,
            at: None,
            last,
        };
        self.shared.config.stages.reserve(&mut self.st, &mut ask)
    }

    /// Why a request whose body is to be awaited is surely answered here: nobody waits for that.
    #[cold]
    pub(crate) fn certain_local_cause(&mut self, head: &request::Parts) -> Option<Cause> {
        if !self.shared.config.stages.is_unavailable() {
            return None;
        }
        let model = self.scratch.model.clone();
        let refused = self.reserve(head, &|| None, false).err();
        // What stands in the body has not been looked for.
        self.scratch.model = model;
        refused
    }

    /// Time has passed since the request came in.
    pub(crate) fn waited(&mut self) {
        self.scratch.just_started = false;
    }

    /// Puts what was chosen on an attempt that is sent at once.
    #[inline]
    pub(crate) fn prepare(&mut self, head: &mut request::Parts, first: bool) -> Result<(), Cause> {
        let mut now = if first { self.now() } else { Now::unread() };
        let Config { stages, common, .. } = &self.shared.config;
        let scratch = &mut *self.scratch;
        let handed_down = scratch.parent != 0 || common.announce;
        let instead = stages.model(&self.st).cloned();
        let chosen = if handed_down { instead.clone() } else { None };
        // Whoever needed the model has read it when the account was reserved.
        let mut read = || Model::Absent(NotResent::NoModel);
        let mut wanted = ModelLookup::new(instead, &mut scratch.model, &mut read);
        let mut draft = Draft {
            head,
            options: scratch.options.as_ref(),
            ledger: scratch.ledger.as_deref(),
            now: &mut now,
            model: &mut wanted,
            outer: scratch.handoff.stamp.as_ref(),
            put: None,
            verified: false,
            wants_stamp: handed_down,
        };
        stages.prepare(&mut self.st, &mut draft)?;
        if let (true, Some(ledger)) = (handed_down, &scratch.ledger) {
            scratch.send = ledger.next_send();
            let stamp = draft.put.or_else(|| scratch.handoff.stamp.clone());
            let model = chosen.or_else(|| scratch.handoff.model.clone());
            let reported = scratch.reported || common.reporter.is_some();
            hand_down(&mut head.extensions, ledger, scratch.send, stamp, model, reported);
        }
        Ok(())
    }

    /// The request as the caller sent it; `last` says that there will be no attempt after the next.
    pub(crate) fn rebuild(&mut self, last: bool) -> Option<request::Parts> {
        let mut head = self.scratch.snapshot.next_head(last)?;
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
        let Some(model) = self.shared.config.stages.model(&self.st) else {
            return Some(Rewritten::SameBody);
        };
        let at = self.shared.config.common.model_at.as_ref()?;
        let span = match &self.scratch.model {
            Model::Named(_, span) => span.as_ref(),
            Model::Unread | Model::Absent(_) => None,
        };
        let body = if at.needs_body() { bytes() } else { None };
        at.write(head, body.as_ref(), span, model)
    }

    /// Whether the kept body may yet be needed to find out which model the request names.
    pub(crate) fn may_read_body(&self) -> bool {
        let at = self.common().model_at.as_ref();
        matches!(self.scratch.model, Model::Unread)
            && at.is_some_and(crate::stage::model::ModelAt::needs_body)
    }

    pub(crate) fn is_grpc(&self) -> bool {
        let content_type = self.scratch.snapshot().and_then(|kept| kept.header(&CONTENT_TYPE));
        local::is_grpc(content_type.map(str::as_bytes))
    }

    /// Whether the caller put a credential on.
    pub(crate) fn is_authorized(&self) -> bool {
        self.scratch.authorized
            || self.scratch.snapshot().is_some_and(|kept| kept.has(&AUTHORIZATION))
    }

    /// Whether somebody is going to tell of this request's failures.
    pub(crate) fn is_reported(&self) -> bool {
        self.scratch.reported || self.common().reporter.is_some()
    }

    /// The one who tells of this request, when it is this driver.
    pub(crate) fn reporter(&self) -> Option<&ReporterHandle> {
        self.common().reporter.as_ref().filter(|_| !self.scratch.reported)
    }

    pub(crate) fn ledger(&mut self) -> Arc<Ledger> {
        let started = self.scratch.started;
        self.scratch.ledger.get_or_insert_with(|| Arc::new(Ledger::new(started))).clone()
    }
}

/// Whether a fallback further out has said where requests name their model.
fn is_named_outside(ledger: Option<&Ledger>) -> bool {
    ledger.is_some_and(|ledger| ledger.model_source().is_some())
}

/// What a request says when it comes in.
#[inline]
fn take_in<S, St: Stage, K>(
    scratch: &mut RequestData,
    shared: &Shared<S, St, K>,
    head: &request::Parts,
    hopeless: bool,
) {
    let Config { stages, common, .. } = &shared.config;
    let mut handle = None;
    if !head.extensions.is_empty() {
        scratch.options = head.extensions.get::<RequestOptions>().cloned();
        handle = head.extensions.get::<Handle>();
    }
    let resendable = !hopeless && shared.has_spare() && stages.may_resend();
    // Only a deadline, of this driver or of one below, and a report ask when the request came in.
    let timed = resendable || common.reporter.is_some() || common.announce;
    let known = handle.and_then(|handle| handle.ledger.started());
    if timed {
        // What an outer driver read may be long ago: it has waited since.
        scratch.started = Some(known.unwrap_or_else(Instant::now));
        scratch.just_started = known.is_none();
    }
    // The handle is put on each attempt anew: alone, it need not be kept.
    let handle_only = handle.is_some() && head.extensions.len() == 1;
    let instead = handle.and_then(|handle| handle.model.as_ref());
    let named = scratch.options.as_ref().and_then(RequestOptions::requested_model);
    if let Some(model) = instead.or(named) {
        scratch.model = Model::Named(model.clone(), None);
    }
    if let Some(handle) = handle {
        (scratch.parent, scratch.reported) = (handle.send, handle.reported);
        scratch.handoff = Handoff { stamp: handle.stamp.clone(), model: handle.model.clone() };
        scratch.ledger = Some(handle.ledger.clone());
    } else if common.announce {
        scratch.ledger = Some(Arc::new(Ledger::new(scratch.started)));
    }
    if let Some(ledger) = &scratch.ledger {
        ledger.tighten_limits(common.set);
    }
    if resendable {
        scratch.snapshot.keep_whole(head, handle_only);
    } else if !hopeless && stages.rotates() && is_named_outside(scratch.ledger.as_deref()) {
        // A failure may be about the model only, which is read when it is needed.
        scratch.snapshot.keep_whole(head, true);
    } else if common.reporter.is_some() || common.mode == AuthFailureMode::Replace {
        scratch.snapshot.keep_brief(head);
    } else if scratch.reported {
        // A snapshot knows both, and is asked when it matters: after a failure.
        scratch.authorized = report::is_authorized(head);
        let keyed = || head.headers.contains_key(&IDEMPOTENCY_KEY);
        scratch.harmless = repeatable(&head.method, false, scratch.options.as_ref()) || keyed();
    }
    if !resendable {
        scratch.barred = Some(NotResent::SentOnce);
    }
}
