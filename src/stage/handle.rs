//! What separate layers find of each other in a request's extensions.

use std::sync::Arc;

use super::{ledger::Ledger, stage::Stamp};

/// What stands in a request's extensions: the shared ledger, and what is true of this one send.
///
/// It is cloned with the request; what stands inline belongs to the clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) ledger: Arc<Ledger>,
    /// The send that this request is part of.
    pub(crate) send: u32,
    /// The credential that the innermost rotation so far put on it.
    pub(crate) stamp: Option<Stamp>,
    /// The model that an outer fallback put in place of the caller's.
    pub(crate) model: Option<Arc<str>>,
    /// A layer outside reports this request.
    pub(crate) reported: bool,
}
