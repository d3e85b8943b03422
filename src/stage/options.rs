//! The options of one request.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The account that a request is tied to.
///
/// [`RequestOptions::pin`] and [`RequestOptions::prefer`] build it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountPin {
    /// Only this account; its cooldowns are ignored, its quarantine is not.
    Strict(Arc<str>),
    /// This account while it is usable, otherwise the pool's choice.
    Prefer(Arc<str>),
}

/// Settings for a single request, which the caller puts into its extensions.
///
/// Options only restrict what the layers allow. The one exception is
/// [`repeatable`](RequestOptions::repeatable), a promise that only the caller can make.
///
/// ```
/// use std::num::NonZeroU32;
/// use tower_failover::RequestOptions;
///
/// const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();
///
/// let mut request = http::Request::get("https://api.example.com/videos/42").body(())?;
/// request.extensions_mut().insert(RequestOptions::new().pin("alice").attempts(TWO).label("poll"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions {
    pin: Option<AccountPin>,
    sticky: Option<Arc<[u8]>>,
    model: Option<Arc<str>>,
    no_retry: bool,
    no_fallback: bool,
    repeatable: bool,
    attempts: Option<u32>,
    deadline: Option<Duration>,
    label: Option<Arc<str>>,
}

impl RequestOptions {
    /// Builds options that change nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets only this account serve, whether or not it is cooling.
    ///
    /// While its credential is quarantined or the account is retired, the request is answered at
    /// once, as if the pool had no other account. An id that the pool does not have is answered
    /// with [`PinUnknown`](crate::Code::PinUnknown).
    pub fn pin(mut self, account: impl Into<Arc<str>>) -> Self {
        self.pin = Some(AccountPin::Strict(account.into()));
        self
    }

    /// Lets only the account that made this job serve, as with [`pin`](Self::pin).
    ///
    /// If that account's credential is rejected, the request fails: it does not go to another account.
    ///
    /// ```
    /// use tower_failover::{pool::JobIds, Account, Credential, Pool, RequestOptions};
    ///
    /// # fn key() -> [u8; 32] { [7; 32] }
    /// let bob = Account::new("bob", Credential::bearer("tok-bob")?);
    /// let pool = Pool::builder().account(bob).any_origin().build()?;
    /// let job_ids = JobIds::new(key());
    /// let id = job_ids.seal("bob", "7")?;
    ///
    /// let job = job_ids.open(&pool, &id)?;
    /// let mut poll = http::Request::get(format!("https://api.example.com/videos/{}", job.upstream_id()))
    ///     .body(())?;
    /// poll.extensions_mut().insert(RequestOptions::new().pin_job(&job).label("poll"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "job-ids")]
    pub fn pin_job(self, job: &crate::pool::Job) -> Self {
        self.pin(Arc::clone(job.owner()))
    }

    /// Prefers this account while it is usable.
    pub fn prefer(mut self, account: impl Into<Arc<str>>) -> Self {
        self.pin = Some(AccountPin::Prefer(account.into()));
        self
    }

    /// Sends requests with the same key to the same account while it is usable.
    ///
    /// White space around the key is ignored, and an empty key is no key. When an account is added,
    /// removed or cooling, only the keys of that account move.
    ///
    /// ```
    /// use tower_failover::RequestOptions;
    ///
    /// let request = http::Request::get("https://api.example.com/chat")
    ///     .header("X-Session-ID", " session-7 ")
    ///     .body(())?;
    /// let options = RequestOptions::new().sticky(&request.headers()["x-session-id"]);
    /// assert_eq!(options, RequestOptions::new().sticky("session-7"));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn sticky(mut self, key: impl AsRef<[u8]>) -> Self {
        let key = key.as_ref().trim_ascii();
        self.sticky = (!key.is_empty()).then(|| Arc::from(key));
        self
    }

    /// Names the request's model. Accounts that do not serve it, or are cooling for it, are skipped.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Turns retries off for this request. Rotation and fallback stay on.
    pub fn no_retry(mut self) -> Self {
        self.no_retry = true;
        self
    }

    /// Turns fallback to other models off for this request.
    pub fn no_fallback(mut self) -> Self {
        self.no_fallback = true;
        self
    }

    /// Declares that doing the work twice is harmless, whatever the method is.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Limits the attempts of this request, the first one included. A smaller limit of a layer stays.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = Some(attempts.get());
        self
    }

    /// Starts no attempt later than this after the first layer received the request. An earlier
    /// deadline of a layer stays.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// Sets a label that appears in every event about this request.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(crate) fn pinned(&self) -> Option<&AccountPin> {
        self.pin.as_ref()
    }

    pub(crate) fn sticky_key(&self) -> Option<&[u8]> {
        self.sticky.as_deref()
    }

    pub(crate) fn requested_model(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    pub(crate) fn forbids_retry(&self) -> bool {
        self.no_retry
    }

    pub(crate) fn forbids_fallback(&self) -> bool {
        self.no_fallback
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    pub(crate) fn max_attempts(&self) -> Option<u32> {
        self.attempts
    }

    pub(crate) fn max_duration(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn label_text(&self) -> Option<&Arc<str>> {
        self.label.as_ref()
    }
}
