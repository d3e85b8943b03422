//! Who served a request.

use std::sync::Arc;

/// Who served a request, in the response's extensions when asked for
/// ([`served_by`](crate::FailoverBuilder::served_by)).
///
/// Keep the account with the job it made: its result belongs to that account
/// ([`RequestOptions::pin`](crate::RequestOptions::pin)). It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ServedBy {
    /// The id of the account; `None` when the credential was the caller's own, or nothing was sent.
    pub account: Option<Arc<str>>,
    /// The model, when a layer chose it; `None` when the caller's own served.
    pub model: Option<Arc<str>>,
    /// How many attempts it took.
    pub attempts: u32,
}

impl ServedBy {
    pub(crate) const fn new(account: Option<Arc<str>>, attempts: u32) -> Self {
        Self { account, model: None, attempts }
    }
}
