//! Guards that count a request as in flight.

use std::{fmt, sync::Arc};

use crate::{pool::account::PooledAccount, sync::Ordering};

/// A request in flight; dropping it ends that.
pub(crate) struct InFlight(pub(crate) Arc<PooledAccount>);

/// A request whose answer is held and may be discarded: it does not count.
pub(crate) struct Paused(Arc<PooledAccount>);

impl InFlight {
    pub(crate) fn pause(self) -> Paused {
        Paused(Arc::clone(&self.0))
    }
}

impl Paused {
    /// Counts the request again because its answer is returned, until the body ends.
    pub(crate) fn resume(self) -> InFlight {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        InFlight(self.0)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.0.id).finish()
    }
}
