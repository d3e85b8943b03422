//! Who served a request.

use std::sync::Arc;

use crate::stage::Stamp;

/// Who served a request, in the response's extensions when asked for
/// ([`served_by`](crate::FailoverBuilder::served_by)).
///
/// Keep the account with the job it made: its result belongs to that account
/// ([`RequestOptions::pin`](crate::RequestOptions::pin)). It holds no secret.
///
/// ```
/// use tower_failover::{RequestOptions, ServedBy};
///
/// /// Who must be asked for the result of a job.
/// fn owner<B>(answer: &http::Response<B>) -> RequestOptions {
///     match answer.extensions().get::<ServedBy>().and_then(|by| by.account.clone()) {
///         Some(account) => RequestOptions::new().pin(account),
///         None => RequestOptions::new(),
///     }
/// }
/// assert_eq!(owner(&http::Response::new(())), RequestOptions::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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

    /// With what a layer below has said first: it is nearer to what was sent.
    pub(crate) fn over(mut self, below: Option<Self>) -> Self {
        if let Some(below) = below {
            self.account = below.account.or(self.account);
            self.model = below.model.or(self.model);
            self.attempts = self.attempts.max(below.attempts);
        }
        self
    }
}
