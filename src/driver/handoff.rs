//! What drivers of one request tell each other by its extensions.

use std::sync::Arc;

use http::Extensions;

use crate::stage::{Handle, Ledger, Stamp};

/// What outer layers of this crate have put on a request.
#[derive(Debug, Default)]
pub(crate) struct Handoff {
    pub(crate) stamp: Option<Stamp>,
    pub(crate) model: Option<Arc<str>>,
}

impl Handoff {
    pub(crate) const fn is_some(&self) -> bool {
        self.stamp.is_some() || self.model.is_some()
    }
}

/// Puts on the request what drivers below need to know.
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
