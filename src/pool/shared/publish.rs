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
    /// Replaces the current generation of an account. `carry_over` receives the last state of the old
    /// one, and the new one before requests can see it.
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
        // First evidence about the old one stops to count, then the new one is counted, then requests
        // can see it: at each step the count is right for what they see.
        if let Some((was, _)) = old.update(|state| Some(state.closed())) {
            carry_over(was, &new);
            if !was.is_alive() && new.state().is_alive() {
                self.adjust_alive(1);
            }
        }
        entry.current.store(Arc::new(new));
        if known {
            self.sync_index(&entry.account);
            // Ordering 3: pairs with the loads in `unavailable`.
            self.changes.fetch_add(1, Ordering::SeqCst);
        } else {
            self.publish(roster.entries.to_vec());
        }
        registry.remember_former(&old, roster.entries.len());
        // Ordering 4: pairs with the loads in `filter`.
        self.secrets.fetch_add(1, Ordering::SeqCst);
        self.notify();
    }

    /// Replaces the list of accounts. The caller holds the lock of the registry.
    pub(crate) fn publish(&self, entries: Vec<Arc<Entry>>) {
        let roster = Arc::new(Roster::new(entries, self.settings.order, self.settings.selection));
        self.len.store(roster.entries.len(), Ordering::Relaxed);
        self.roster.store(Arc::clone(&roster));
        // Ordering 1: pairs with the fence in `sync_index`.
        fence(Ordering::SeqCst);
        roster.catch_up();
        // Ordering 3: pairs with the loads in `unavailable`.
        self.changes.fetch_add(1, Ordering::SeqCst);
        // Ordering 4: pairs with the loads in `filter`.
        self.secrets.fetch_add(1, Ordering::SeqCst);
        // Last: waiters look at once.
        self.notify();
    }

    /// Wakes all waiters because the last handle is gone.
    pub(crate) fn notify_closed(&self) {
        // Ordering 3: pairs with the loads in `unavailable`.
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.changed.send_replace(());
    }
}
