//! The state that a driver hands down to the drivers below, in the extensions of a request.

use std::sync::Arc;

use http::Extensions;

use crate::stage::{Handle, Ledger, Stamp};

/// The credential and the model that outer layers have put on a request.
#[derive(Debug, Default)]
pub(crate) struct Handoff {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) model: Option<Arc<str>>,
}

impl Handoff {
    /// Returns whether it holds anything.
    pub(crate) const fn is_some(&self) -> bool {
        self.stamp.is_some() || self.model.is_some()
    }
}

/// Puts the handle for the drivers below on an attempt.
pub(crate) fn hand_down(
    extensions: &mut Extensions,
    ledger: &Arc<Ledger>,
    send: u32,
    stamp: Option<Stamp>,
    model: Option<Arc<str>>,
    reported: bool,
) {
    let ledger = match extensions.get_mut::<Handle>() {
        Some(handle) => {
            (handle.send, handle.reported) = (send, reported);
            (handle.stamp, handle.model) = (stamp, model);
            return;
        }
        None => ledger.clone(),
    };
    extensions.insert(Handle { ledger, send, stamp, model, reported });
}
