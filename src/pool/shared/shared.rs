//! What all accounts of a pool share, and what a change of one account's state does to it.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::registry::Registry;
use crate::{
    classify::Code,
    pool::{
        account::{Cooldowns, Generation, GenerationState, Kind, PooledAccount},
        index::{Cursors, Roster, Timers},
        origin::Origins,
        settings::{Cascade, Order, OwnCredential, Selection, Sources},
    },
    report::{ReporterHandle, text::Filter},
    sync::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Mutex, Ordering, fence},
};

/// See the [module](self).
///
/// Accounts hold it, and it holds them through the roster; the last handle of the pool breaks that
/// circle (see [`Owner`](super::handle::Owner)).
pub(crate) struct Shared {
    pub(crate) id: u32,
    pub(crate) settings: Settings,
    pub(crate) roster: ArcSwap<Roster>,
    pub(crate) cursors: Cursors,
    pub(crate) timers: Timers,
    pub(crate) registry: Mutex<Registry>,
    /// Grows with every change of any state; see [`shortage`](super::shortage).
    pub(crate) changes: AtomicU64,
    pub(crate) unavailable: ArcSwapOption<NoAccount>,
    /// Grows with every change of any credential.
    pub(crate) secrets: AtomicU64,
    /// The filter for messages of others, and the number of changes that it knows of.
    pub(crate) filter: ArcSwapOption<(u64, Arc<Filter>)>,
    /// Who waits for a source, or watches, is told of each change.
    pub(crate) changed: watch::Sender<()>,
    /// Wakes the task that looks at the clock.
    pub(crate) expiry_check: Arc<Notify>,
    /// Whether there is such a task.
    pub(crate) has_expiry_task: AtomicBool,
    /// Whether any credential ends that nothing replaces.
    pub(crate) has_expiry: AtomicBool,
    /// Whether the pool's death was told, and not that it is well again.
    pub(crate) dead: AtomicBool,
    /// Whether the last handle is gone.
    pub(crate) closed: AtomicBool,
    /// Whether a clock that is wrong has been told of.
    pub(crate) skew_reported: AtomicBool,
    /// How many accounts there are; when the last handle is gone, how many there were.
    pub(crate) len: AtomicUsize,
    /// The accounts that are neither refused nor retired. It may be behind for an instant, so it may
    /// fall below zero for an instant.
    alive: AtomicI64,
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

/// What the builder was told.
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
    /// It left no account alive.
    pub(crate) last: bool,
}

impl Change {
    /// Whether it took a living account out.
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
            epoch,
        }
    }

    // --- time

    /// `at` in the pool's own time. A rest begins and ends in it, so that who waits for exactly as
    /// long as was asked for finds the rest over.
    pub(crate) fn passed(&self, at: Instant) -> u64 {
        let time = at.saturating_duration_since(self.epoch);
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long it is from `now` until `until`.
    pub(crate) fn remaining(&self, until: u64, now: Instant) -> Duration {
        Duration::from_millis(until.saturating_sub(self.passed(now)))
    }

    // --- state

    /// One change of a generation's state, with all that follows from it.
    pub(crate) fn change(
        &self,
        generation: &Generation,
        f: impl Fn(GenerationState) -> Option<GenerationState>,
    ) -> Option<Change> {
        let (was, is) = generation.update(|state| {
            let next = f(state)?;
            if state.is_cooling() && next.hides_cooldown() {
                // Before, so that whoever puts in the next credential finds it.
                generation.account.kept.keep(state);
            }
            Some(next)
        })?;
        let last = match (was.is_alive(), is.is_alive()) {
            // Not more than one: whoever healed an account may not have counted it yet.
            (true, false) => self.alive.fetch_sub(1, Ordering::SeqCst) <= 1,
            (false, true) => {
                self.alive.fetch_add(1, Ordering::SeqCst);
                false
            }
            _ => false,
        };
        if was.kind() != is.kind() || was.until() != is.until() {
            self.sync_index(&generation.account);
            self.changes.fetch_add(1, Ordering::SeqCst);
            self.notify();
        }
        Some(Change { was, is, last })
    }

    /// Tells whoever waits, or watches, that something has changed.
    pub(crate) fn notify(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    /// An account came alive or went, other than by evidence.
    pub(crate) fn adjust_alive(&self, by: i64) {
        self.alive.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn alive(&self) -> i64 {
        self.alive.load(Ordering::SeqCst)
    }

    /// Brings the hint, and the due list, into step with the account's state.
    pub(crate) fn sync_index(&self, account: &Arc<PooledAccount>) {
        loop {
            // What changed the state happened before; what changes the roster afterwards sees it.
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
                    // Hidden before it is queued: whoever finds it due shows it, and if that is at
                    // once, nobody hides it again. Nobody who can come back is ever lost.
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

    /// Shows those again whose time is up at `now`.
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
        fence(Ordering::SeqCst);
        let newer = self.roster.load();
        if !Arc::ptr_eq(&roster, &newer) {
            newer.catch_up();
        }
    }

    /// Some model rests: nobody's answer about who can serve holds for every model any more.
    pub(crate) fn note_model_cooldown(&self) {
        self.roster.load().note_model_cooldown();
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Evidence of a rest: `f` says what it makes of a state. Whether anything changed, and how the
    /// state did, if it was the state.
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
        let grown = f(before.with_limited_strikes(state)).is_some_and(|rest| kept.keep(rest));
        // Its source may have answered in between.
        self.restore_cooldown(generation, now);
        (if state.is_renewing() { grown } else { change.is_some() }, change)
    }

    /// The account's rest goes on with the credential that it has, when that may be used again.
    pub(crate) fn restore_cooldown(&self, generation: &Generation, now: u64) {
        if let Some(rest) = generation.account.kept.get(now) {
            self.change(generation, |state| state.cooling_like(rest, now));
        }
    }
}
