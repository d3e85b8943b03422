//! An account that is checked out for one attempt.

use std::{fmt, sync::Arc};

use super::in_flight::InFlight;
use crate::{
    clock::Now,
    pool::{
        account::{Generation, GenerationState, PooledAccount, Since, TriedModel},
        settings::Selection,
        shared::Shared,
    },
    sync::{AtomicBool, AtomicU64, Ordering},
};

/// One generation of an account's credential, for one attempt.
///
/// Dropping it without an outcome returns the probe, and ends the attempt.
pub(crate) struct Lease {
    pub(crate) generation: Arc<Generation>,
    /// The state when it was leased; for a probe, as the probe left it.
    seen: GenerationState,
    /// The model's cooldown, which a success ends.
    pub(super) tried: Option<Box<TriedModel>>,
    /// The request was sent, and no outcome is known.
    sent: bool,
    /// It counts as in flight, and this ends it.
    counted: AtomicBool,
    /// When it was leased, all accounts of the pool put a credential into the same header, and no more.
    one_header: bool,
    /// The pool to which a probe that is dropped is returned.
    pub(super) probe: Option<Arc<Shared>>,
}

impl Lease {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        generation: Arc<Generation>,
        since: Since,
        tried: Option<TriedModel>,
        one_header: bool,
    ) -> Self {
        let account = &generation.account;
        let counted = shared.settings.selection == Selection::LeastInFlight;
        if counted {
            account.open.fetch_add(1, Ordering::Relaxed);
        }
        let probe = since.probe.then(|| Arc::clone(shared));
        let (seen, tried) = (since.seen, tried.map(Box::new));
        Self {
            generation,
            seen,
            tried,
            sent: false,
            counted: AtomicBool::new(counted),
            one_header,
            probe,
        }
    }

    /// Leases an account in its turn, in a pool that counts no requests in flight.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn of_turn(
        generation: Arc<Generation>,
        seen: GenerationState,
        one_header: bool,
    ) -> Self {
        Self {
            generation,
            seen,
            tried: None,
            sent: false,
            counted: AtomicBool::new(false),
            one_header,
            probe: None,
        }
    }

    /// Returns the account's number, unique in the process.
    pub(crate) fn uid(&self) -> u32 {
        self.generation.account.uid
    }

    /// Returns the account's id.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.generation.account.id
    }

    /// Returns the generation of its credential.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.number
    }

    /// Returns the number of the account's group.
    pub(crate) fn group(&self) -> Option<u32> {
        self.generation.account.group
    }

    /// Returns whether a model of the account may be cooling, so that selecting it needs the model.
    pub(crate) fn has_model_cooldowns(&self) -> bool {
        self.seen.has_model_cooldowns()
    }

    /// Returns whether this attempt is the probe of a rejected credential.
    pub(crate) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Returns whether the credential may still be sent: it was not rejected or replaced since, and
    /// its account not removed or retired.
    pub(crate) fn still_good(&self) -> bool {
        let state = self.generation.state();
        !state.is_closed() && (state.may_be_sent() || state.is_probe_of(self.since()))
    }

    /// Returns whether the credential has expired since. Reads the clock only if it ever expires.
    pub(crate) fn has_ended(&self, shared: &Shared, now: &mut Now) -> bool {
        let lifetime = &self.generation.lifetime;
        !lifetime.is_fresh(|| shared.passed(now.get()))
            && lifetime.is_expired(shared.passed(now.get()))
    }

    /// Returns whether a call to its source is due or in progress, or has given another credential.
    pub(crate) fn is_renewing(&self) -> bool {
        let state = self.generation.state();
        state.is_closed() || state.is_renewing()
    }

    /// Returns whether its source is being called for the account's next credential.
    pub(crate) fn is_under_way(&self, shared: &Shared) -> bool {
        let account = &self.generation.account;
        let roster = shared.roster.load();
        let entry = roster.position(account).and_then(|at| roster.entries.get(at));
        entry.is_some_and(|entry| entry.state().is_under_way())
    }

    /// Notes that the attempt goes out.
    pub(crate) fn sent(&mut self) {
        self.generation.account.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.sent = true;
    }

    /// Keeps the request in flight until it is dropped; `Some` only when the pool chooses by that.
    pub(crate) fn in_flight_guard(&self) -> Option<InFlight> {
        // One attempt drives this: no two threads take it at once.
        let counted = self.counted.load(Ordering::Relaxed);
        self.counted.store(false, Ordering::Relaxed);
        counted.then(|| InFlight(Arc::clone(&self.generation.account)))
    }

    /// Counts the outcome of the attempt, once.
    pub(super) fn count_outcome(&mut self, count: impl Fn(&PooledAccount) -> &AtomicU64) {
        if std::mem::take(&mut self.sent) {
            count(&self.generation.account).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns whether one header is all that has to be put on, and nothing to be taken off.
    pub(crate) fn is_one_header(&self) -> bool {
        self.one_header
    }

    /// Returns what the attempt knew when it was leased.
    fn since(&self) -> Since {
        Since { seen: self.seen, probe: self.is_probe() }
    }

    /// Returns what the attempt knew, and ends its being a probe.
    pub(super) fn take_since(&mut self) -> Since {
        let since = self.since();
        self.probe = None;
        since
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.inconclusive();
        if self.counted.load(Ordering::Relaxed) {
            self.generation.account.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("generation", &self.generation)
            .field("probe", &self.is_probe())
            .finish_non_exhaustive()
    }
}
