//! A credential that a request carries already.

use std::sync::Arc;

use super::lease::Lease;
use crate::pool::{
    account::{Generation, Since},
    shared::Shared,
};

/// A credential that an outer stage chose, after a gate let it pass.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) generation: Arc<Generation>,
    pub(crate) since: Since,
}

impl Admitted {
    /// Returns the number of its account, and of its generation.
    pub(crate) fn key(&self) -> (u32, u64) {
        (self.generation.account.uid, self.generation.number)
    }

    /// Returns whether the request is the probe of its account.
    pub(crate) fn is_probe(&self) -> bool {
        self.since.probe
    }

    /// Makes a lease for an attempt with it.
    pub(crate) fn into_lease(self, shared: &Arc<Shared>) -> Lease {
        Lease::new(shared, self.generation, self.since, None, false)
    }
}
