//! Making and opening of job ids.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    error::{JobIdError, UpstreamIdError},
    key::Key,
    sealed::{self, Sealed},
};
use crate::pool::Pool;

/// Makes and opens job ids that carry the account of the job.
///
/// A job can be polled, and its result fetched, only with the account that created it. With such an id
/// in place of the upstream's own, a program needs no table of jobs and accounts.
///
/// 1. An id holds the upstream's id and a keyed tag of the account: 16 bytes of an HMAC-SHA-256 (RFC
///    2104) of the account's id. Both are masked. Without the key, neither can be read, and jobs of
///    one account cannot be linked. The length of the upstream's id is visible.
/// 2. A MAC of 128 bits covers the whole id, and is compared in constant time. An id that was forged,
///    changed, cut, or made with another key is [`JobIdError::Invalid`]; it never opens as another
///    account's.
/// 3. An account is identified by its id. With a new credential, or removed and inserted again under
///    the same id, it is the same account. While it is removed, its jobs are
///    [`JobIdError::AccountUnknown`].
/// 4. Ids are URL-safe without padding: `A-Z`, `a-z`, `0-9`, `-`, `_`. They have 45 characters, and 4
///    for every 3 bytes of the upstream's id. A job has the same id each time.
/// 5. An id outlives the process. Opening it takes only the key, the [scope](Self::scope), and a pool
///    with that account.
///
/// An id does not prove that its bearer may see the job. The program must check that, or put the
/// user's id into the [scope](Self::scope).
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
/// // 32 random bytes, such as from `openssl rand 32`, kept like a password.
/// let job_ids = JobIds::new(random_bytes()).previous_key(old_bytes());
///
/// // The upstream created `video/7` for bob, as `ServedBy` says. The user gets this id.
/// let id = job_ids.seal("bob", "video/7")?;
/// assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
///
/// // The user asks for the job: the request goes to bob only.
/// let job = job_ids.open(&pool, &id)?;
/// let mut request = http::Request::get(format!("https://api.example.com/{}", job.upstream_id()));
/// request.extensions_mut().unwrap().insert(RequestOptions::new().pin_job(&job));
/// assert_eq!((job.upstream_id(), job.account()), ("video/7", "bob"));
///
/// // A changed id, and an account that was removed, are errors.
/// assert_eq!(job_ids.open(&pool, &id[1..]).unwrap_err(), JobIdError::Invalid);
/// pool.remove("bob");
/// assert_eq!(job_ids.open(&pool, &id).unwrap_err(), JobIdError::AccountUnknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Costs
///
/// Making or opening an id takes one or two microseconds, for 100,000 accounts as for one. The first
/// call that opens an id takes about one more for each account of the pool. Later, a new account, or a
/// job whose account was removed, takes a scan of all accounts.
///
/// # Clone
///
/// Cheap; clones share the keys, which are wiped with the last clone. The caller must wipe the array
/// that was passed in.
#[derive(Clone)]
pub struct JobIds {
    key: Arc<Key>,
    /// The keys that only open ids.
    older: Vec<Arc<Key>>,
    scope: Arc<str>,
}

/// A job and its account, as [`JobIds::open`] returns them.
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
    /// The longest upstream id that fits, in bytes.
    pub const MAX_UPSTREAM_ID: usize = sealed::MAX_UPSTREAM_ID;

    /// Makes and opens ids with this key.
    ///
    /// The 32 bytes must be random; a password is not a key. Anyone who has them can make ids.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: Key::new(&Zeroizing::new(key)), older: Vec::new(), scope: Arc::from("") }
    }

    /// Opens the ids of a previous key as well.
    ///
    /// To change the key, pass the new one to [`new`](Self::new) and the old one here for as long as
    /// its ids are in use. Deploy both to every process that opens ids before one makes ids with the
    /// new key.
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

    /// Sets the scope. An id that was made in another scope is [`JobIdError::Invalid`].
    ///
    /// If two pools share a key and may have accounts with the same id, give each its own scope: ids
    /// distinguish accounts only by their id. With the user's id in the scope, a user cannot use the
    /// job ids of another.
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

    /// Returns the id of the job `upstream_id`, which `account` created
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

    /// Returns the job of an id, if `pool` has its account.
    ///
    /// This does not check whether the account can serve now; the request for the job does.
    ///
    /// # Errors
    ///
    /// See the variants of [`JobIdError`].
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
    /// Returns the upstream's id of the job.
    pub fn upstream_id(&self) -> &str {
        &self.upstream_id
    }

    /// Returns the id of the account that created the job.
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
