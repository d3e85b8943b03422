//! What all accounts of a pool share, and what a change of one account's state does to it.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    pool::{
        Cascade, Order, Origins, OwnCredential, Selection, Sources, Writer,
        account::{Generation, Kind, Member, Rests, Word},
        index::{Cursors, Due, Roster},
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
    pub(crate) due: Due,
    pub(crate) writer: Mutex<Writer>,
    /// Grows with every change of any state; see [`shortage`](super::shortage).
    pub(crate) changes: AtomicU64,
    pub(crate) shortage: AtomicU64,
    /// Grows with every change of any credential.
    pub(crate) secrets: AtomicU64,
    /// The filter for messages of others, and the number of changes that it knows of.
    pub(crate) filter: ArcSwapOption<(u64, Arc<Filter>)>,
    /// Whether some account serves only some models.
    pub(crate) restricted: AtomicBool,
    /// Whether some account has a source.
    pub(crate) mints: AtomicBool,
    /// Whether any model ever rested.
    pub(crate) model_cooldowns: AtomicU64,
    /// Who waits for a source, or watches, is told of each change.
    pub(crate) news: watch::Sender<()>,
    /// Wakes the task that looks at the clock.
    pub(crate) watcher: Arc<Notify>,
    /// Whether there is such a task.
    pub(crate) watched: AtomicBool,
    /// Whether any credential ends that nothing replaces.
    pub(crate) ending: AtomicBool,
    /// Whether the pool's death was told, and not that it is well again.
    pub(crate) dead: AtomicBool,
    /// Whether the last handle is gone.
    pub(crate) closed: AtomicBool,
    /// Whether a clock that is wrong has been told of.
    pub(crate) skewed: AtomicBool,
    /// How many accounts there are; when the last handle is gone, how many there were.
    pub(crate) len: AtomicUsize,
    /// The accounts that are neither refused nor retired. It may be behind for an instant, so it may
    /// fall below zero for an instant.
    alive: AtomicI64,
    epoch: Instant,
}

/// What the builder was told.
pub(crate) struct Settings {
    pub(crate) selection: Selection,
    pub(crate) order: Order,
    pub(crate) cascade: Cascade,
    pub(crate) own: OwnCredential,
    pub(crate) help: Option<Arc<str>>,
    pub(crate) origins: Origins,
    pub(crate) rests: Rests,
    pub(crate) reporter: ReporterHandle,
    pub(crate) sources: Sources,
}

/// One change of an account's state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) was: Word,
    pub(crate) is: Word,
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
            due: Due::new(),
            writer: Mutex::new(Writer::default()),
            changes: AtomicU64::new(0),
            shortage: AtomicU64::new(0),
            secrets: AtomicU64::new(0),
            filter: ArcSwapOption::empty(),
            restricted: AtomicBool::new(false),
            mints: AtomicBool::new(false),
            model_cooldowns: AtomicU64::new(0),
            news: watch::Sender::new(()),
            watcher: Arc::default(),
            watched: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            skewed: AtomicBool::new(false),
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
        f: impl Fn(Word) -> Option<Word>,
    ) -> Option<Change> {
        let (was, is) = generation.update(|word| {
            let next = f(word)?;
            if word.is_resting() && next.hides_rest() {
                // Before, so that whoever puts in the next credential finds it.
                generation.member.kept.keep(word);
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
            self.look_at(&generation.member);
            self.changes.fetch_add(1, Ordering::SeqCst);
            self.spread();
        }
        Some(Change { was, is, last })
    }

    /// Tells whoever waits, or watches, that something has changed.
    pub(crate) fn spread(&self) {
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }

    /// An account came alive or went, other than by evidence.
    pub(crate) fn add_alive(&self, by: i64) {
        self.alive.fetch_add(by, Ordering::SeqCst);
    }

    pub(crate) fn alive(&self) -> i64 {
        self.alive.load(Ordering::SeqCst)
    }

    /// Brings the hint, and the due list, into step with the account's state.
    pub(crate) fn look_at(&self, member: &Arc<Member>) {
        loop {
            // What changed the state happened before; what changes the roster afterwards sees it.
            fence(Ordering::SeqCst);
            let roster = self.roster.load();
            let Some(i) = roster.position(member) else {
                return;
            };
            let Some(slot) = roster.slots.get(i) else {
                return;
            };
            let word = slot.word();
            match word.kind() {
                Kind::Usable => roster.usable.set(i),
                kind => {
                    // Hidden before it is queued: whoever finds it due shows it, and if that is at
                    // once, nobody hides it again. Nobody who can come back is ever lost.
                    roster.usable.clear(i);
                    let comes_back = !matches!(kind, Kind::Probing | Kind::Retired);
                    if comes_back && !word.is_under_way() {
                        self.due.add(member, word.until());
                    }
                    fence(Ordering::SeqCst);
                    if slot.word() != word {
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
        if self.due.next() > now {
            return;
        }
        let roster = self.roster.load();
        self.due.sweep(now, all, &mut |member| {
            let i = roster.position(member)?;
            let word = roster.slots.get(i)?.word();
            match word.kind() {
                Kind::Probing | Kind::Retired => None,
                Kind::Expiring | Kind::Absent if word.is_under_way() => None,
                _ if word.kind() != Kind::Usable && word.until() > now => Some(word.until()),
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
}
