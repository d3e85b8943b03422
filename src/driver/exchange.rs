//! A request in progress: its parts, and the account and model of the next attempt.

use std::sync::Arc;

use http::{
    header::{AUTHORIZATION, CONTENT_TYPE},
    request,
};
use tokio::time::Instant;

use super::{
    config::{AuthFailureMode, Config, Settings},
    handoff::{Handoff, hand_down},
    limits::RequestLimits,
    model_source::{GetBytes, Head, ModelSource},
    report,
    scratch::{RequestData, Scratch},
    shared::Shared,
};
use crate::{
    answer::local,
    classify::Cause,
    clock::Now,
    report::{NotResent, ReporterHandle},
    stage::{
        Ask, Draft, Handle, Ledger, Model, ModelLookup, RequestOptions, Stage, ledger,
        model::Rewritten,
        resend::{IDEMPOTENCY_KEY, repeatable},
    },
};

/// A request in progress: the state of its stages, and the data taken from it.
///
/// Dropped before its end, it reports the request as abandoned.
pub(crate) struct Exchange<S, St: Stage, K> {
    pub(crate) shared: Arc<Shared<S, St, K>>,
    pub(crate) st: St::State,
    pub(crate) scratch: Scratch,
}

impl<S, St: Stage, K> Exchange<S, St, K> {
    /// Begins a request; `hopeless` says that it will most likely be answered without an attempt.
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

    /// Returns the limits of the request.
    pub(crate) fn limits(&self) -> RequestLimits<'_> {
        RequestLimits { common: self.common(), data: &self.scratch }
    }

    pub(crate) fn common(&self) -> &Settings {
        &self.shared.config.common
    }

    /// Announces to the drivers below where the model can be read.
    pub(crate) fn announce_model_source(&self, bytes: GetBytes<'_>) {
        let common = self.common();
        if let (true, Some(at), Some(ledger)) =
            (common.announce, &common.model_at, &self.scratch.ledger)
        {
            let body = if at.needs_body() { bytes() } else { None };
            ledger.set_model_source(ledger::ModelSource { at: at.clone(), body });
        }
    }

    /// Returns the time that was read when the request came in, while it has not waited.
    fn now(&self) -> Now {
        self.scratch.started.filter(|_| self.scratch.just_started).map_or_else(Now::unread, Now::at)
    }

    /// Chooses what the next attempt will use; `last` ends the wait for a token source.
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
        let source = ModelSource { at, ledger, head: Head::Parts(head), bytes };
        let mut read = || source.read();
        // An attempt of a fallback, too, may wait for its credential here.
        let instead = self.shared.config.stages.chosen(&self.st).model.cloned();
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

    /// Returns why a request is surely answered locally, before its body is read.
    #[cold]
    pub(crate) fn certain_local_cause(&mut self, head: &request::Parts) -> Option<Cause> {
        if !self.shared.config.stages.is_unavailable() {
            return None;
        }
        let model = self.scratch.model.clone();
        let cause = self.reserve(head, &|| None, false).err();
        // The model that stands in the body was not looked for.
        self.scratch.model = model;
        cause
    }

    /// Notes that time has passed since the request came in.
    pub(crate) fn waited(&mut self) {
        self.scratch.just_started = false;
    }

    /// Puts the chosen credential and model on an attempt that is sent at once.
    #[inline]
    pub(crate) fn prepare(&mut self, head: &mut request::Parts, first: bool) -> Result<(), Cause> {
        let mut now = if first { self.now() } else { Now::unread() };
        let Config { stages, common, .. } = &self.shared.config;
        let scratch = &mut *self.scratch;
        let handed_down = scratch.parent != 0 || common.announce;
        let instead = stages.chosen(&self.st).model.cloned();
        let chosen = if handed_down { instead.clone() } else { None };
        // A stage that needs the model has read it when the account was reserved.
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

    /// Rebuilds the head of the caller's request; `last` says that it is not needed again.
    pub(crate) fn rebuild(&mut self, last: bool) -> Option<request::Parts> {
        let mut head = self.scratch.snapshot.next_head(last)?;
        for deny in &self.common().deny {
            deny(&mut head.extensions);
        }
        Some(head)
    }

    /// Puts the model on an attempt that a fallback has chosen; `None` where it cannot be written.
    pub(crate) fn rewrite(
        &self,
        head: &mut request::Parts,
        bytes: GetBytes<'_>,
    ) -> Option<Rewritten> {
        let Some(model) = self.shared.config.stages.chosen(&self.st).model else {
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

    /// Returns whether the kept body may still be needed to read the model of the request.
    pub(crate) fn may_read_body(&self) -> bool {
        let at = self.common().model_at.as_ref();
        matches!(self.scratch.model, Model::Unread)
            && at.is_some_and(crate::stage::model::ModelAt::needs_body)
    }

    /// Returns whether the caller's request is gRPC.
    pub(crate) fn is_grpc(&self) -> bool {
        let content_type = self.scratch.snapshot().and_then(|kept| kept.header(&CONTENT_TYPE));
        local::is_grpc(content_type.map(str::as_bytes))
    }

    /// Returns whether the caller put a credential on the request.
    pub(crate) fn is_authorized(&self) -> bool {
        self.scratch.authorized
            || self.scratch.snapshot().is_some_and(|kept| kept.has(&AUTHORIZATION))
    }

    /// Returns whether this driver or an outer one reports the request.
    pub(crate) fn is_reported(&self) -> bool {
        self.scratch.reported || self.common().reporter.is_some()
    }

    /// Returns the reporter of the request, where this driver reports it.
    pub(crate) fn reporter(&self) -> Option<&ReporterHandle> {
        self.common().reporter.as_ref().filter(|_| !self.scratch.reported)
    }

    /// Returns the ledger; makes it when it is first needed.
    pub(crate) fn ledger(&mut self) -> Arc<Ledger> {
        let started = self.scratch.started;
        self.scratch.ledger.get_or_insert_with(|| Arc::new(Ledger::new(started))).clone()
    }
}

/// Takes from the request its options, and the parts that further attempts and reports need.
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
    // Only a deadline, of this driver or of one below, and a report need the time of the start.
    if resendable || common.reporter.is_some() || common.announce {
        // An outer driver may have read it long ago: it has waited since.
        let known = handle.and_then(|handle| handle.ledger.started());
        scratch.started = Some(known.unwrap_or_else(Instant::now));
        scratch.just_started = known.is_none();
    }
    take_handle(scratch, common, handle);
    // The handle is put on each attempt anew: alone, it need not be kept.
    let handle_only = handle.is_some() && head.extensions.len() == 1;
    if resendable {
        scratch.snapshot.keep_whole(head, handle_only);
    } else if !hopeless && stages.rotates() && is_model_announced(scratch.ledger.as_deref()) {
        // A failure may be about the model only, which is read when it is needed.
        scratch.snapshot.keep_whole(head, true);
    } else if common.reporter.is_some() || common.mode == AuthFailureMode::Replace {
        scratch.snapshot.keep_brief(head);
    } else if scratch.reported {
        // Without a snapshot these two are read now; they matter after a failure.
        scratch.authorized = report::is_authorized(head);
        let keyed = || head.headers.contains_key(&IDEMPOTENCY_KEY);
        scratch.harmless = repeatable(&head.method, false, scratch.options.as_ref()) || keyed();
    }
    if !resendable {
        scratch.barred = Some(NotResent::SentOnce);
    }
}

/// Takes over the handle of the driver above, or begins a ledger for the drivers below.
#[inline]
fn take_handle(scratch: &mut RequestData, common: &Settings, handle: Option<&Handle>) {
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
}

/// Returns whether a fallback further out has announced where requests name their model.
fn is_model_announced(ledger: Option<&Ledger>) -> bool {
    ledger.is_some_and(|ledger| ledger.model_source().is_some())
}
