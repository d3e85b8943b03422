//! Replacing a generation, or the list of accounts, so that requests see it.

use std::sync::Arc;

use super::{registry::Registry, shared::Shared};
use crate::{
    pool::{
        account::{Entry, Generation, GenerationState},
        index::Roster,
    },
    sync::{Ordering, fence},
};

impl Shared {
    /// Puts another generation in the place of an account's. `hand_on` is given the last state of
    /// the old one, and the new one before it can be seen.
    pub(crate) fn put(
        &self,
        registry: &mut Registry,
        roster: &Arc<Roster>,
        entry: &Arc<Entry>,
        new: Generation,
        carry_over: impl FnOnce(GenerationState, &Generation),
    ) {
        let known = roster.places.knows(&new.credential.place);
        let old = entry.current.load_full();
        // First no evidence about the old one counts any more, then the new one is counted, then it
        // can be seen: at each step the count is right for what requests can see.
        if let Some((was, _)) = old.update(|state| Some(state.closed())) {
            carry_over(was, &new);
            if !was.is_alive() && new.state().is_alive() {
                self.adjust_alive(1);
            }
        }
        entry.current.store(Arc::new(new));
        if known {
            self.sync_index(&entry.account);
            self.changes.fetch_add(1, Ordering::SeqCst);
        } else {
            self.publish(roster.entries.to_vec());
        }
        registry.remember_former(&old, roster.entries.len());
        self.secrets.fetch_add(1, Ordering::SeqCst);
        self.notify();
    }

    /// To be called by whoever holds the writer.
    pub(crate) fn publish(&self, entries: Vec<Arc<Entry>>) {
        let roster = Arc::new(Roster::new(entries, self.settings.order, self.settings.selection));
        self.len.store(roster.entries.len(), Ordering::Relaxed);
        self.roster.store(Arc::clone(&roster));
        fence(Ordering::SeqCst);
        roster.catch_up();
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.secrets.fetch_add(1, Ordering::SeqCst);
        // Whoever is told looks at once.
        self.notify();
    }

    /// Nobody has a handle any more: those who wait are told.
    pub(crate) fn notify_closed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.send_replace(());
    }
}
