//! The handle by which separate layers in one stack share a request's state.

use std::sync::Arc;

use super::{facts::Stamp, ledger::Ledger};

/// The value in a request's extensions: the shared ledger, and the facts of this one send.
///
/// It is cloned with the request. The ledger is shared by the clones, the other fields are not.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) ledger: Arc<Ledger>,
    /// The send that this request is part of.
    pub(crate) send: u32,
    /// The credential that the innermost rotation so far put on the request.
    pub(crate) stamp: Option<Stamp>,
    /// The model that an outer fallback put in place of the caller's.
    pub(crate) model: Option<Arc<str>>,
    /// A layer further out reports this request.
    pub(crate) reported: bool,
}
