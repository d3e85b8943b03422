//! Who served a request.

use std::sync::Arc;

use crate::stage::Stamp;

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
    pub(crate) fn new(stamp: Option<Stamp>, model: Option<Arc<str>>, attempts: u32) -> Self {
        Self { account: stamp.map(|stamp| stamp.id), model, attempts }
    }

    /// With what a layer below has said, where this one has nothing to say.
    pub(crate) fn over(mut self, below: Option<Self>) -> Self {
        if let Some(below) = below {
            self.account = self.account.or(below.account);
            self.model = self.model.or(below.model);
            self.attempts = self.attempts.max(below.attempts);
        }
        self
    }
}
