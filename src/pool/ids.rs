//! The accounts by their ids alone.

use std::sync::Arc;

use super::handle::Pool;

impl Pool {
    /// Calls `f` with the id of each account, usable or not.
    pub(crate) fn visit_ids(&self, f: impl FnMut(&Arc<str>)) {
        self.shared().roster.load().entries.iter().map(|entry| &entry.account.id).for_each(f);
    }
}
