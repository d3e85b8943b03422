//! A credential that is on a request already.

use std::sync::Arc;

use http::StatusCode;

use super::lease::Lease;
use crate::{
    classify::Reason,
    clock::Now,
    pool::account::{Generation, Since},
};

/// A credential that somebody else chose, as a gate has let it pass.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) generation: Arc<Generation>,
    pub(crate) since: Since,
}

impl Admitted {
    /// The upstream refused it. Whoever chose it may say so as well: one of them wins.
    pub(crate) fn rejected(self, reason: Reason, status: Option<StatusCode>, now: &mut Now) {
        self.into_lease().rejected(reason, status, now);
    }

    /// The number of its account, and of its generation.
    pub(crate) fn key(&self) -> (u32, u64) {
        (self.generation.account.uid, self.generation.number)
    }

    /// The upstream took it: a probe has healed the account, although what sends again further out
    /// may never say so.
    pub(crate) fn succeeded_as_probe(self) {
        if self.since.probe {
            self.into_lease().succeeded(None);
        }
    }

    /// The upstream knew it, and failed for something that says nothing against it.
    pub(crate) fn failed_as_probe(self) {
        if self.since.probe {
            self.into_lease().healthy_failure();
        }
    }

    /// For an attempt of one's own with it.
    pub(crate) fn into_lease(self) -> Lease {
        Lease::new(self.generation, self.since, None, false)
    }
}
