//! The state that all accounts of a pool share, and the effects of a change of one account.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::registry::Registry;
use crate::{
    classify::Code,
    clock::Timer,
    pool::{
        account::{Cooldowns, Generation, GenerationState, Kind, PooledAccount},
        index::{Cursors, Roster, Timers},
        origin::Origins,
        settings::{Cascade, Order, OwnCredential, Selection, Sources},
    },
    report::{ReporterHandle, text::Filter},
    sync::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Mutex, Ordering, fence},
};

/// The shared state of a pool. Handles, probes and refresh tasks hold it; accounts do not.
///
/// # Ordering
///
/// Requests read these without a lock, so that each pair below is `SeqCst`, where each side must see
/// the write of the other:
///
/// 1. A generation's state and the roster: a change swaps the state, then (after a fence) loads the
///    roster in `sync_index`; `publish` stores the roster, then (after a fence) loads the states in
///    `catch_up`. One of them puts a usable account into `usable`.
/// 2. An account's state and its timer: `sync_index` clears `usable` and queues the timer, then (after
///    a fence) loads the state again; a sweep takes the timer, loads the state, and sets `usable`.
/// 3. `changes` and the states: a change swaps the state, then increments `changes`; `unavailable`
///    loads `changes`, then the states. A kept answer with an old count is not used.
/// 4. `secrets` and the credentials: a change stores the credential, then increments `secrets`; the
///    filter is built between two loads of `secrets`, and not kept if they differ.
/// 5. `alive` and `dead`: an account that heals increments `alive` before it swaps `dead`; a report of
///    a death stores `dead` after `alive` fell to zero.
/// 6. `closed` and `changed`: the last handle stores `closed`, then wakes the waiters; a waiter
///    subscribes, then loads `closed`.
pub(crate) struct Shared {
    pub(crate) id: u32,
    pub(crate) settings: Settings,
    pub(crate) roster: ArcSwap<Roster>,
    pub(crate) cursors: Cursors,
    pub(crate) timers: Timers,
    pub(crate) registry: Mutex<Registry>,
    /// Grows with every change of any state; see [`NoAccount`].
    pub(crate) changes: AtomicU64,
    pub(crate) unavailable: ArcSwapOption<NoAccount>,
    /// Grows with every change of any credential.
    pub(crate) secrets: AtomicU64,
    /// The filter for messages of others, and the number of changes that it takes into account.
    pub(crate) filter: ArcSwapOption<(u64, Arc<Filter>)>,
    /// Wakes the waiters and streams at each change.
    pub(crate) changed: watch::Sender<()>,
    /// Wakes the task that reports expiries.
    pub(crate) expiry_check: Arc<Notify>,
    /// Whether that task was started.
    pub(crate) has_expiry_task: AtomicBool,
    /// Whether a credential without a source expires.
    pub(crate) has_expiry: AtomicBool,
    /// Whether the pool's death was reported, and not its recovery.
    pub(crate) dead: AtomicBool,
    /// Whether the last handle is gone.
    pub(crate) closed: AtomicBool,
    /// Whether a wrong clock was reported.
    pub(crate) skew_reported: AtomicBool,
    /// The number of accounts; after the last handle is gone, the last number.
    pub(crate) len: AtomicUsize,
    /// The number of accounts that are neither rejected nor retired. It may lag for an instant, and
    /// fall below zero for an instant.
    alive: AtomicI64,
    /// Shared by the waits for a source and for a change.
    pub(crate) timer: Timer,
    epoch: Instant,
}

/// Why no account can serve any request, with the number of changes that this takes into account.
pub(crate) struct NoAccount {
    pub(crate) changes: u64,
    pub(crate) code: Code,
    /// When an account may serve again.
    pub(crate) until: Option<u64>,
    /// When the last credential expired, in seconds since 1970.
    pub(crate) ended: Option<u64>,
    /// Whether the source of a rejected account may give another credential.
    pub(crate) mints: bool,
}

/// The settings of a pool.
pub(crate) struct Settings {
    pub(crate) selection: Selection,
    pub(crate) order: Order,
    pub(crate) cascade: Cascade,
    pub(crate) own: OwnCredential,
    pub(crate) help: Option<Arc<str>>,
    pub(crate) origins: Origins,
    pub(crate) cooldowns: Cooldowns,
    pub(crate) reporter: ReporterHandle,
    pub(crate) sources: Sources,
}

/// One change of an account's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) was: GenerationState,
    pub(crate) is: GenerationState,
    /// Whether it left no account alive.
    pub(crate) last: bool,
}

impl Change {
    /// Returns whether it took a living account out.
    pub(crate) const fn is_loss(&self) -> bool {
        self.was.is_alive() && !self.is.is_alive()
    }
}

impl Shared {
    pub(crate) fn new(id: u32, settings: Settings, epoch: Instant) -> Self {
        let roster = Roster::new(Vec::new(), settings.order, settings.selection);
        Self {
            id,
            settings,
            roster: ArcSwap::from_pointee(roster),
            cursors: Cursors::new(),
            timers: Timers::new(),
            registry: Mutex::new(Registry::default()),
            changes: AtomicU64::new(0),
            unavailable: ArcSwapOption::empty(),
            secrets: AtomicU64::new(0),
            filter: ArcSwapOption::empty(),
            changed: watch::Sender::new(()),
            expiry_check: Arc::default(),
            has_expiry_task: AtomicBool::new(false),
            has_expiry: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            skew_reported: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            alive: AtomicI64::new(0),
            timer: Timer::new(),
            epoch,
        }
    }

    // --- time

    /// Returns `at` in the pool's own time, in which cooldowns begin and end: a request that waits for
    /// exactly the announced time finds the cooldown over.
    pub(crate) fn passed(&self, at: Instant) -> u64 {
        let time = at.saturating_duration_since(self.epoch);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time from `now` until `until`.
    pub(crate) fn remaining(&self, until: u64, now: Instant) -> Duration {
        Duration::from_millis(until.saturating_sub(self.passed(now)))
    }

    // --- state

    /// Changes a generation's state, and updates the index, the counters and the waiters.
    pub(crate) fn change(
        &self,
        generation: &Generation,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> Option<Change> {
        let (was, is) = generation.update(|state| {
            let next = f(state)?;
            if state.is_cooling() && next.hides_cooldown() {
                // Before the swap, so that the next credential gets it.
                generation.account.kept.keep(state);
            }
            Some(next)
        })?;
        let last = match (was.is_alive(), is.is_alive()) {
            // At most one: a thread that healed an account may not have counted it yet.
            (true, false) => self.alive.fetch_sub(1, Ordering::SeqCst) <= 1,
            (false, true) => {
                // Ordering 5: pairs with `dead`.
                self.alive.fetch_add(1, Ordering::SeqCst);
                false
            }
            _ => false,
        };
        if was.kind() != is.kind() || was.until() != is.until() {
            self.sync_index(&generation.account);
            // Ordering 3: pairs with the loads in `unavailable`.
            self.changes.fetch_add(1, Ordering::SeqCst);
            self.notify();
        }
        Some(Change { was, is, last })
    }

    /// Wakes the waiters and streams.
    pub(crate) fn notify(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    /// Adjusts the count of living accounts for a change other than by evidence.
    pub(crate) fn adjust_alive(&self, by: i64) {
        // Ordering 5: pairs with `dead`.
        self.alive.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn alive(&self) -> i64 {
        // Ordering 5: pairs with `fetch_add` and `fetch_sub`.
        self.alive.load(Ordering::SeqCst)
    }

    /// Updates the index and the timer of an account to its state.
    pub(crate) fn sync_index(&self, account: &Arc<PooledAccount>) {
        loop {
            // Ordering 1: the state was changed before; a later change of the roster sees it.
            fence(Ordering::SeqCst);
            let roster = self.roster.load();
            let Some(i) = roster.position(account) else {
                return;
            };
            let Some(entry) = roster.entries.get(i) else {
                return;
            };
            let state = entry.state();
            match state.kind() {
                Kind::Usable => roster.usable.set(i),
                kind => {
                    // Ordering 2: hidden before it is queued. A sweep that finds it due shows it, and
                    // it is not hidden again: an account that can come back is never lost.
                    roster.usable.clear(i);
                    let comes_back = !matches!(kind, Kind::Probing | Kind::Retired);
                    if comes_back && !state.is_under_way() {
                        self.timers.add(account, state.until());
                    }
                    fence(Ordering::SeqCst);
                    if entry.state() != state {
                        continue;
                    }
                }
            }
            if Arc::ptr_eq(&roster, &self.roster.load()) {
                return;
            }
        }
    }

    /// Puts accounts whose time is up at `now` back into the index.
    pub(crate) fn sweep(&self, now: u64, all: bool) {
        if self.timers.next() > now {
            return;
        }
        let roster = self.roster.load();
        self.timers.sweep(now, all, &mut |account| {
            let i = roster.position(account)?;
            let state = roster.entries.get(i)?.state();
            match state.kind() {
                Kind::Probing | Kind::Retired => None,
                Kind::Expiring | Kind::Absent if state.is_under_way() => None,
                _ if state.kind() != Kind::Usable && state.until() > now => Some(state.until()),
                _ => {
                    roster.usable.set(i);
                    None
                }
            }
        });
        // Ordering 1: pairs with the fence in `publish`.
        fence(Ordering::SeqCst);
        let newer = self.roster.load();
        if !Arc::ptr_eq(&roster, &newer) {
            newer.catch_up();
        }
    }

    /// Notes that a model cools: no answer about all accounts holds for every model any more.
    pub(crate) fn note_model_cooldown(&self) {
        self.roster.load().note_model_cooldown();
        // Ordering 3: pairs with the loads in `unavailable`.
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes a cooldown of the account: `f` returns the changed state. Returns whether anything
    /// changed, and the change if it was one of the state.
    pub(crate) fn note_cooldown(
        &self,
        generation: &Generation,
        now: u64,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> (bool, Option<Change>) {
        let state = |state: GenerationState| if state.is_renewing() { None } else { f(state) };
        let change = self.change(generation, state);
        let state = generation.state();
        if !state.hides_cooldown() || state.is_closed() {
            return (change.is_some(), change);
        }
        let kept = &generation.account.kept;
        let before = kept.get(now).unwrap_or(GenerationState::NEW);
        let grown = f(before).is_some_and(|cooldown| kept.keep(cooldown));
        // The source may have answered in between.
        self.restore_cooldown(generation, now);
        (if state.is_renewing() { grown } else { change.is_some() }, change)
    }

    /// Continues the cooldown of the account with a credential that may be used again.
    pub(crate) fn restore_cooldown(&self, generation: &Generation, now: u64) {
        if let Some(cooldown) = generation.account.kept.get(now) {
            self.change(generation, |state| state.cooling_like(cooldown, now));
        }
    }
}
