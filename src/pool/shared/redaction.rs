//! What must not stand in messages of others.

use std::sync::Arc;

use super::shared::Shared;
use crate::{
    pool::Pool,
    report::text::{Filter, Redact},
    sync::Ordering,
};

impl Pool {
    /// Calls `f` with each secret, those of the last few replaced or removed credentials as well.
    pub(crate) fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        self.shared().visit_secrets(f);
    }

    /// Whether there are so many that a failed request must not pay for looking for them.
    pub(crate) fn too_many_secrets(&self) -> bool {
        self.shared().too_many()
    }

    /// A quick look at whether a text could hold one of them.
    pub(crate) fn filter(&self) -> Option<Arc<Filter>> {
        self.shared().filter()
    }
}

/// From so many accounts on, messages of others are withheld instead of searched.
pub(crate) const MANY_SECRETS: usize = 1024;

impl Redact for Shared {
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        Self::visit_secrets(self, f);
    }

    fn too_many(&self) -> bool {
        self.len.load(Ordering::Relaxed) > MANY_SECRETS
    }

    fn filter(&self) -> Option<Arc<Filter>> {
        let shared = self;
        let changes = shared.secrets.load(Ordering::SeqCst);
        if let Some(kept) = &*shared.filter.load() {
            if kept.0 == changes {
                return Some(Arc::clone(&kept.1));
            }
        }
        let filter = Arc::new(Filter::of(self));
        // A secret that came while this was made may not be in it.
        if shared.secrets.load(Ordering::SeqCst) != changes {
            return None;
        }
        shared.filter.store(Some(Arc::new((changes, Arc::clone(&filter)))));
        Some(filter)
    }
}
