//! Makes and opens job ids.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    error::{JobIdError, UpstreamIdError},
    key::Key,
    sealed::{self, Sealed},
};
use crate::pool::Pool;

/// Makes job ids that carry the account which the job belongs to, and opens them again.
///
/// A job is polled, and its result fetched, with the account that made it; with another one it is not
/// found. Hand out such an id in place of the upstream's own, and there is no table of jobs and
/// accounts to keep.
///
/// 1. An id holds the upstream's own id, and of the account a keyed tag: 16 bytes of an HMAC-SHA-256
///    (RFC 2104) of the account's id. Both are masked, so that who has no key reads neither, nor sees
///    which jobs belong to the same account. How long the upstream's id is can be seen.
/// 2. A MAC of 128 bits covers all of it, and is compared in constant time. An id that was forged,
///    changed, cut, or made with another key is [`JobIdError::Invalid`], and never another account's.
/// 3. An account is known by its id: with a new credential, or removed and inserted again under the
///    same id, it is the same account. While it is gone, its jobs are [`JobIdError::AccountUnknown`].
/// 4. Ids are URL-safe without padding: `A-Z`, `a-z`, `0-9`, `-`, `_`; 45 characters and 4 for every
///    3 bytes of the upstream's id. One job has the same id each time.
/// 5. An id outlives the process: all that it takes to open it is the key, the
///    [scope](Self::scope), and a pool with that account.
///
/// An id does not prove that its bearer may see the job: that is for the program to know, or for a
/// [scope](Self::scope) with the user's id in it.
///
/// ```
/// use tower_failover::{pool::{JobIdError, JobIds}, Account, Credential, Pool, RequestOptions};
///
/// # fn random_bytes() -> [u8; 32] { [7; 32] }
/// # fn old_bytes() -> [u8; 32] { [8; 32] }
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
///     .account(Account::new("bob", Credential::bearer("tok-bob")?))
///     .origins(["https://api.example.com"])
///     .build()?;
/// // 32 bytes of good randomness, such as `openssl rand 32` gives, kept like a password.
/// let job_ids = JobIds::new(random_bytes()).previous_key(old_bytes());
///
/// // The upstream made `video/7` for bob, as `ServedBy` says: this is what the user gets.
/// let id = job_ids.seal("bob", "video/7")?;
/// assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
///
/// // The user asks for it: only bob is asked.
/// let job = job_ids.open(&pool, &id)?;
/// let mut request = http::Request::get(format!("https://api.example.com/{}", job.upstream_id()));
/// request.extensions_mut().unwrap().insert(RequestOptions::new().pin_job(&job));
/// assert_eq!((job.upstream_id(), job.account()), ("video/7", "bob"));
///
/// // Whatever else is sent in its place.
/// assert_eq!(job_ids.open(&pool, &id[1..]).unwrap_err(), JobIdError::Invalid);
/// pool.remove("bob");
/// assert_eq!(job_ids.open(&pool, &id).unwrap_err(), JobIdError::AccountUnknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
///
/// One or two microseconds to make or open an id, with 100,000 accounts as with one. What opens first
/// takes about one more for each account of the pool; later, new accounts, and jobs whose account is gone,
/// take a look at each.
///
/// # Clone
///
/// Cheap; clones share the keys, which are wiped with the last one. The array that was given is the
/// caller's to wipe.
#[derive(Clone)]
pub struct JobIds {
    key: Arc<Key>,
    /// For reading.
    older: Vec<Arc<Key>>,
    scope: Arc<str>,
}

/// A job, and the account that it belongs to: what [`JobIds::open`] finds.
///
/// ```
/// use tower_failover::{pool::JobIds, Account, Credential, Pool, RequestOptions};
///
/// # fn key() -> [u8; 32] { [7; 32] }
/// let bob = Account::new("bob", Credential::bearer("tok-bob")?);
/// let pool = Pool::builder().account(bob).any_origin().build()?;
/// let job_ids = JobIds::new(key());
/// let job = job_ids.open(&pool, &job_ids.seal("bob", "video/7")?)?;
///
/// assert_eq!((job.upstream_id(), job.account()), ("video/7", "bob"));
/// assert_eq!(RequestOptions::new().pin_job(&job), RequestOptions::new().pin("bob"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    account: Arc<str>,
    upstream_id: String,
}

impl JobIds {
    /// The longest id of an upstream's that fits, in bytes.
    pub const MAX_UPSTREAM_ID: usize = sealed::MAX_UPSTREAM_ID;

    /// Makes ids, and opens them, with this key.
    ///
    /// Its 32 bytes are random; a password is no key. Whoever has them can make ids.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: Key::new(&Zeroizing::new(key)), older: Vec::new(), scope: Arc::from("") }
    }

    /// Opens the ids of an older key as well.
    ///
    /// To change the key, give the new one to [`new`](Self::new) and the old one here for as long as
    /// its ids are about. Give both to every process that opens ids before one makes ids with the new.
    ///
    /// ```
    /// use tower_failover::{pool::JobIds, Account, Credential, Pool};
    ///
    /// # fn old_key() -> [u8; 32] { [7; 32] }
    /// # fn new_key() -> [u8; 32] { [8; 32] }
    /// let bob = Account::new("bob", Credential::bearer("tok-bob")?);
    /// let pool = Pool::builder().account(bob).any_origin().build()?;
    /// let id = JobIds::new(old_key()).seal("bob", "video/7")?;
    ///
    /// let job_ids = JobIds::new(new_key()).previous_key(old_key());
    /// assert_eq!(job_ids.open(&pool, &id)?.account(), "bob");
    /// assert!(JobIds::new(new_key()).open(&pool, &id).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn previous_key(mut self, key: [u8; 32]) -> Self {
        self.older.push(Key::new(&Zeroizing::new(key)));
        self
    }

    /// Where the ids are good: one that was made in another scope is [`JobIdError::Invalid`].
    ///
    /// Give each pool a scope of its own where two of them share a key and may have accounts of the
    /// same id: an account's id is all that an id tells them apart by. With the user's id in it, one
    /// user's job ids are of no use to another.
    ///
    /// ```
    /// use tower_failover::{pool::{JobIdError, JobIds}, Account, Credential, Pool};
    ///
    /// # fn key() -> [u8; 32] { [7; 32] }
    /// let main = Account::new("main", Credential::bearer("tok-main")?);
    /// let pool = Pool::builder().account(main).any_origin().build()?;
    /// let job_ids = JobIds::new(key());
    /// let id = job_ids.clone().scope("videos").seal("main", "7")?;
    ///
    /// assert_eq!(job_ids.clone().scope("videos").open(&pool, &id)?.account(), "main");
    /// let images = job_ids.scope("images");
    /// assert_eq!(images.open(&pool, &id).unwrap_err(), JobIdError::Invalid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The id of a job that the upstream calls `upstream_id` and that `account` made
    /// ([`ServedBy::account`](crate::ServedBy::account)).
    ///
    /// # Errors
    ///
    /// `upstream_id` is empty, or longer than [`MAX_UPSTREAM_ID`](Self::MAX_UPSTREAM_ID).
    pub fn seal(&self, account: &str, upstream_id: &str) -> Result<String, UpstreamIdError> {
        if upstream_id.is_empty() {
            return Err(UpstreamIdError::Empty);
        }
        if upstream_id.len() > Self::MAX_UPSTREAM_ID {
            return Err(UpstreamIdError::TooLong);
        }
        Ok(self.key.seal(&self.scope, account, upstream_id).write())
    }

    /// The job that this id was made for, if `pool` has its account.
    ///
    /// Whether the account can serve now is not looked at: the pool says so when the job is asked for.
    ///
    /// # Errors
    ///
    /// What the variants of [`JobIdError`] say.
    pub fn open(&self, pool: &Pool, id: &str) -> Result<Job, JobIdError> {
        let sealed = Sealed::read(id).ok_or(JobIdError::Invalid)?;
        let mut keys = std::iter::once(&self.key).chain(&self.older);
        let (key, (tag, upstream_id)) = keys
            .find_map(|key| Some((key, key.unseal(&self.scope, &sealed)?)))
            .ok_or(JobIdError::Invalid)?;
        let account = key.account(&tag, pool).ok_or(JobIdError::AccountUnknown)?;
        Ok(Job { account, upstream_id })
    }
}

impl Job {
    /// What the upstream calls the job.
    pub fn upstream_id(&self) -> &str {
        &self.upstream_id
    }

    /// The id of the account that made it.
    pub fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn owner(&self) -> &Arc<str> {
        &self.account
    }
}

impl fmt::Debug for JobIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobIds")
            .field("keys", &(1 + self.older.len()))
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
