//! The secrets that must not stand in messages of others.

use std::sync::Arc;

use super::{registry::MANY_SECRETS, shared::Shared};
use crate::{
    report::text::{Filter, Redact},
    sync::{Ordering, lock},
};

impl Redact for Shared {
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        for entry in &self.roster.load().entries {
            entry.current.load().credential.visit_secrets(f);
        }
        let former: Vec<_> =
            lock(&self.registry).former.iter().map(|(_, one)| one.clone()).collect();
        for credential in &former {
            credential.visit_secrets(f);
        }
    }

    fn too_many(&self) -> bool {
        self.len.load(Ordering::Relaxed) > MANY_SECRETS
    }

    fn filter(&self) -> Option<Arc<Filter>> {
        let shared = self;
        // Ordering 4: pairs with `fetch_add` where a credential changes.
        let changes = shared.secrets.load(Ordering::SeqCst);
        if let Some(kept) = &*shared.filter.load() {
            if kept.0 == changes {
                return Some(Arc::clone(&kept.1));
            }
        }
        let filter = Arc::new(Filter::of(self));
        // A secret that was added while the filter was built may be missing in it.
        // Ordering 4: pairs with `fetch_add` where a credential changes.
        if shared.secrets.load(Ordering::SeqCst) != changes {
            return None;
        }
        shared.filter.store(Some(Arc::new((changes, Arc::clone(&filter)))));
        Some(filter)
    }
}
