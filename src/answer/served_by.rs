//! The account and model that served a request.

use std::sync::Arc;

use crate::stage::Stamp;

/// The account and model that served a request. It is added to the response's extensions with
/// [`served_by`](crate::failover::FailoverBuilder::served_by).
///
/// Store the account with the job that the request created: the result belongs to that account
/// ([`RequestOptions::pin`](crate::RequestOptions::pin)). It contains no secret.
///
/// With feature `serde` it can be serialized and read back; with feature `job-ids`, `JobIds` puts the
/// account into the job's id, and nothing needs to be stored.
///
/// ```
/// use tower::{Layer, ServiceExt};
/// use tower_failover::{Account, Credential, FailoverLayer, Pool, RequestOptions, ServedBy};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # use bytes::Bytes;
/// # use http_body_util::Full;
/// # let upstream = tower::service_fn(|request: http::Request<Full<Bytes>>| async move {
/// #     let bob = request.headers()["authorization"] == "Bearer tok-bob";
/// #     let status = if bob || request.method() == "POST" { 200 } else { 404 };
/// #     let answer = http::Response::builder().status(status).body(Full::<Bytes>::default());
/// #     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer?)
/// # });
/// let pool = Pool::builder()
///     .account(Account::new("bob", Credential::bearer("tok-bob")?))
///     .account(Account::new("carol", Credential::bearer("tok-carol")?))
///     .origins(["https://api.example.com"])
///     .build()?;
/// let service = FailoverLayer::builder().rotation(pool).served_by(true).build()?.layer(upstream);
///
/// let submit = http::Request::post("https://api.example.com/videos").body(Full::default())?;
/// let answer = service.clone().oneshot(submit).await?;
/// let by = answer.extensions().get::<ServedBy>().ok_or("switched on")?;
/// let owner = by.account.clone().ok_or("not the caller's own credential")?;
/// assert_eq!((&*owner, by.attempts), ("bob", 1));
///
/// // The other account has no such video.
/// let mut poll = http::Request::get("https://api.example.com/videos/7").body(Full::default())?;
/// poll.extensions_mut().insert(RequestOptions::new().pin(owner));
/// assert_eq!(service.oneshot(poll).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ServedBy {
    /// The id of the account; `None` when the credential was the caller's own, or nothing was sent.
    pub account: Option<Arc<str>>,
    /// The model, when a layer chose it; `None` when the caller's own served.
    pub model: Option<Arc<str>>,
    /// The number of attempts.
    pub attempts: u32,
}

impl ServedBy {
    pub(crate) fn new(stamp: Option<Stamp>, model: Option<Arc<str>>, attempts: u32) -> Self {
        Self { account: stamp.map(|stamp| stamp.id), model, attempts }
    }

    /// Prefers the facts of a layer below, which is nearer to the attempt.
    pub(crate) fn over(mut self, below: Option<Self>) -> Self {
        if let Some(below) = below {
            self.account = below.account.or(self.account);
            self.model = below.model.or(self.model);
            self.attempts = self.attempts.max(below.attempts);
        }
        self
    }
}
