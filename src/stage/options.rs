//! What one request may ask for.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// Which account a request wants.
///
/// Made by [`RequestOptions::pin`] and [`RequestOptions::prefer`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountPin {
    /// This account or none; its rests are ignored, a quarantine is not.
    Strict(Arc<str>),
    /// This account while it is usable, else the pool's choice.
    Prefer(Arc<str>),
}

/// What one request asks for, put into its extensions by the caller.
///
/// Options only tighten what the layers allow; the one exception is
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
    /// Options that ask for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only this account may serve; whether it rests does not matter.
    ///
    /// While its credential is quarantined or the account is retired, the request is answered at
    /// once, as if the pool had no other account. An id that the pool does not have is answered
    /// with [`PinUnknown`](crate::Code::PinUnknown).
    pub fn pin(mut self, account: impl Into<Arc<str>>) -> Self {
        self.pin = Some(AccountPin::Strict(account.into()));
        self
    }

    /// Only the account that made this job may serve, as with [`pin`](Self::pin).
    ///
    /// A refusal ends with that account: nothing goes to another one, and the request that made the
    /// job is not sent again.
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

    /// This account serves while it is usable.
    pub fn prefer(mut self, account: impl Into<Arc<str>>) -> Self {
        self.pin = Some(AccountPin::Prefer(account.into()));
        self
    }

    /// Requests with the same key go to the same account while it is usable.
    ///
    /// White space at the ends of the key is not part of it; an empty key is none. When an account
    /// comes, goes or rests, no key moves but to it or from it.
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

    /// The model that the request is for: accounts that do not serve it, or rest for it, are passed over.
    pub fn model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Never sent again for a reason that is not the credential's.
    pub fn no_retry(mut self) -> Self {
        self.no_retry = true;
        self
    }

    /// Never sent again with another model.
    pub fn no_fallback(mut self) -> Self {
        self.no_fallback = true;
        self
    }

    /// Doing the work twice is harmless, whatever the method says.
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// At most this many attempts in all. A layer's own smaller limit stays.
    pub fn attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = Some(attempts.get());
        self
    }

    /// No attempt starts later than this after the first layer saw the request. A layer's own
    /// earlier deadline stays.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// A word that stands in every event about this request.
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
