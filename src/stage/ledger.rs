//! The state that all drivers of one request share: attempts, rejections, and the trail.
//!
//! A fused driver creates its ledger after the first failure. Separate layers find the ledger in the
//! request's extensions, where the outermost of them put it (see [`Handle`](super::handle::Handle)).
//!
//! Every send of every driver has its own number, and a driver tags its entries with the number of
//! the send that it is part of. So two clones of a request in flight at once (hedging) never mix up
//! their entries.
//!
//! # Ordering
//!
//! All atomics are `Relaxed`. The mutex orders the entries; the flags and counters beside it only
//! save locking. A driver sees its own writes, and those of an inner driver whose answer it has
//! received, because handing over the answer synchronizes the two.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{limits::Limits, model::ModelAt};
use crate::{
    pool::Pool,
    report::{Attempt, Followed, NotResent},
};

/// The result of an inner driver, for the driver whose send it was part of.
#[derive(Clone, Debug, Default)]
pub(crate) struct InnerOutcome {
    /// The outer driver's send.
    pub(crate) send: u32,
    /// The time until an account can serve again, if none could.
    pub(crate) available_in: Option<Duration>,
    /// A pool has applied the verdict to one of its accounts.
    pub(crate) charged: bool,
    /// The credential on the request was not sent, because it is known to be rejected.
    pub(crate) unsent: bool,
    /// A local answer replaced that of an attempt.
    pub(crate) instead: bool,
    /// The pools of which another attempt would need an account.
    pub(crate) pools: Vec<Pool>,
}

impl InnerOutcome {
    /// Builds the outcome of a success that a pool has recorded.
    pub(crate) fn credit(send: u32) -> Self {
        Self { send, charged: true, ..Self::default() }
    }
}

#[derive(Debug)]
struct Line {
    tag: u32,
    attempt: Attempt,
}

#[derive(Debug, Default)]
struct Cold {
    rejected: Vec<(u32, u32, u64)>,
    /// The models that any fallback has tried.
    models: Vec<Arc<str>>,
    groups: Vec<(u32, u32)>,
    stopped: bool,
    lines: Vec<Line>,
    outcomes: Vec<InnerOutcome>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Ledger {
    started: Option<Instant>,
    sends: AtomicU32,
    attempts: AtomicU32,
    /// The smallest limits of the layers so far.
    limits: OnceLock<Mutex<Limits>>,
    /// `cold` was used. A success takes no lock if it was not.
    touched: AtomicBool,
    /// The number of rejected credentials in `cold`.
    rejections: AtomicUsize,
    /// The location of the model in the caller's request, for layers without a setting of their own.
    source: OnceLock<ModelSource>,
    /// The model that the caller's request names, once a layer has read it.
    own_model: OnceLock<Arc<str>>,
    cold: Mutex<Cold>,
}

/// The location of a model, and the body to read it from.
#[derive(Debug)]
pub(crate) struct ModelSource {
    pub(crate) at: ModelAt,
    pub(crate) body: Option<Bytes>,
}

impl Ledger {
    /// Builds the ledger of a request that came in at `started`. Its first attempt counts already.
    pub(crate) fn new(started: Option<Instant>) -> Self {
        Self {
            started,
            sends: AtomicU32::new(0),
            attempts: AtomicU32::new(1),
            limits: OnceLock::new(),
            touched: AtomicBool::new(false),
            rejections: AtomicUsize::new(0),
            source: OnceLock::new(),
            own_model: OnceLock::new(),
            cold: Mutex::new(Cold::default()),
        }
    }

    pub(crate) const fn started(&self) -> Option<Instant> {
        self.started
    }

    pub(crate) fn model_source(&self) -> Option<&ModelSource> {
        self.source.get()
    }

    /// Sets where the model stands. The first call wins: it is that of the outermost layer.
    pub(crate) fn set_model_source(&self, source: ModelSource) {
        let _ = self.source.set(source);
    }

    pub(crate) fn own_model(&self) -> Option<&Arc<str>> {
        self.own_model.get()
    }

    pub(crate) fn set_own_model(&self, model: Arc<str>) {
        let _ = self.own_model.set(model);
    }

    fn cold(&self) -> MutexGuard<'_, Cold> {
        self.touched.store(true, Ordering::Relaxed);
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untouched(&self) -> bool {
        !self.touched.load(Ordering::Relaxed)
    }

    /// Returns the number of a new send, never 0.
    pub(crate) fn next_send(&self) -> u32 {
        self.sends.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Returns the number of attempts taken.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Applies the limits of one layer to the whole request: the smallest limit wins.
    pub(crate) fn tighten_limits(&self, limits: Limits) {
        if limits != Limits::default() {
            let mut all = self.limits.get_or_init(Mutex::default).lock();
            let all = all.as_deref_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
            *all = all.least(limits);
        }
    }

    /// Returns the smallest limits of all layers.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
            .get()
            .map(|set| *set.lock().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_default()
    }

    /// Adds the attempts that a separate ledger further in has counted.
    pub(crate) fn add_attempts_taken(&self, attempts: u32) {
        let add = |taken: u32| Some(taken.saturating_add(attempts));
        let _ = self.attempts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Takes an attempt, unless `limit` of them are taken.
    pub(crate) fn take_attempt(&self, limit: u32) -> bool {
        self.attempts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then(|| taken + 1)
            })
            .is_ok()
    }

    /// Records a rejected credential: no layer sends it again for this request.
    pub(crate) fn note_rejected(&self, pool: u32, account: u32, generation: u64) {
        let key = (pool, account, generation);
        let mut cold = self.cold();
        if !cold.rejected.contains(&key) {
            cold.rejected.push(key);
            self.rejections.store(cold.rejected.len(), Ordering::Relaxed);
        }
    }

    pub(crate) fn is_rejected(&self, pool: u32, account: u32, generation: u64) -> bool {
        self.rejections() > 0 && self.cold().rejected.contains(&(pool, account, generation))
    }

    /// Returns how many credentials of this account were rejected for this request.
    pub(crate) fn rejections_of(&self, pool: u32, account: u32) -> usize {
        let of = |key: &&(u32, u32, u64)| (key.0, key.1) == (pool, account);
        if self.rejections() == 0 { 0 } else { self.cold().rejected.iter().filter(of).count() }
    }

    /// Returns how many credentials were rejected for this request.
    pub(crate) fn rejections(&self) -> usize {
        self.rejections.load(Ordering::Relaxed)
    }

    /// Records that a fallback tried this model: no fallback tries it again.
    pub(crate) fn note_visited(&self, model: &Arc<str>) {
        let mut cold = self.cold();
        if !cold.models.contains(model) {
            cold.models.push(model.clone());
        }
    }

    pub(crate) fn is_visited(&self, model: &Arc<str>) -> bool {
        !self.untouched() && self.cold().models.contains(model)
    }

    /// Closes a group: none of its accounts is tried again for this request.
    pub(crate) fn close_group(&self, pool: u32, group: u32) {
        self.cold().groups.push((pool, group));
    }

    pub(crate) fn is_group_closed(&self, pool: u32, group: u32) -> bool {
        !self.untouched() && self.cold().groups.contains(&(pool, group))
    }

    /// Stops rotation: no other account is tried for this request.
    pub(crate) fn stop_rotation(&self) {
        self.cold().stopped = true;
    }

    pub(crate) fn is_rotation_stopped(&self) -> bool {
        !self.untouched() && self.cold().stopped
    }

    /// Adds a failed attempt to the trail.
    pub(crate) fn add_attempt(&self, tag: u32, attempt: Attempt) {
        self.cold().lines.push(Line { tag, attempt });
    }

    /// Moves the attempts that inner drivers added under send `from` to send `to`.
    pub(crate) fn adopt_attempts(&self, from: u32, to: u32, edit: impl Fn(&mut Attempt)) {
        if self.untouched() {
            return;
        }
        for line in self.cold().lines.iter_mut().filter(|line| line.tag == from) {
            line.tag = to;
            edit(&mut line.attempt);
        }
    }

    /// Returns why inner drivers did not send the newest attempt under `tag` again.
    pub(crate) fn not_resent(&self, tag: u32) -> NotResent {
        if self.untouched() {
            return NotResent::Final;
        }
        let cold = self.cold();
        match cold.lines.iter().rev().find(|line| line.tag == tag).map(|line| line.attempt.followed)
        {
            Some(Followed::NotResent(why)) => why,
            _ => NotResent::Final,
        }
    }

    /// Sets what followed the newest attempt under `tag`.
    pub(crate) fn set_followed(&self, tag: u32, followed: Followed) {
        let mut cold = self.cold();
        if let Some(line) = cold.lines.iter_mut().rev().find(|line| line.tag == tag) {
            line.attempt.followed = followed;
        }
    }

    /// Returns whether there are attempts under `tag`.
    pub(crate) fn has_attempts(&self, tag: u32) -> bool {
        !self.untouched() && self.cold().lines.iter().any(|line| line.tag == tag)
    }

    /// Removes and returns the attempts under `tag`, oldest first.
    pub(crate) fn take_trail(&self, tag: u32) -> Vec<Attempt> {
        if self.untouched() {
            return Vec::new();
        }
        let mut cold = self.cold();
        let (mine, others) =
            std::mem::take(&mut cold.lines).into_iter().partition(|line| line.tag == tag);
        cold.lines = others;
        let mine: Vec<Line> = mine;
        mine.into_iter().map(|line| line.attempt).collect()
    }

    pub(crate) fn put_inner_outcome(&self, outcome: InnerOutcome) {
        self.cold().outcomes.push(outcome);
    }

    pub(crate) fn take_inner_outcome(&self, send: u32) -> Option<InnerOutcome> {
        if self.untouched() {
            return None;
        }
        let mut cold = self.cold();
        let at = cold.outcomes.iter().rposition(|outcome| outcome.send == send)?;
        Some(cold.outcomes.swap_remove(at))
    }
}

#[cfg(test)]
mod tests;
