//! The handle of a pool.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    admin,
    error::PoolError,
    shared::Shared,
    view::{PoolView, view},
    watch::{NotReady, PoolChanges, wait_ready},
};
use crate::{
    classify::Reason,
    clock::Now,
    credential::{Account, Credential, Expires},
    sync::Ordering,
};

/// The accounts that may serve.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{pool::State, Account, Credential, Pool};
///
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
///     .account(Account::new("bob", Credential::bearer("tok-bob")?).priority(-1))
///     .origins(["https://api.example.com"])
///     .help("update your tokens in Settings")
///     .build()?;
///
/// // While requests are under way, and without a restart:
/// assert!(pool.cool_down("alice", None, Duration::from_secs(30)));
/// assert_eq!(pool.view().accounts[0].state, State::Cooling);
/// assert_eq!(pool.replace("alice", Credential::bearer("tok-alice-2")?)?, 2);
/// assert_eq!(pool.view().accounts[0].state, State::Usable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # States
///
/// ```text
///                     limited, out of quota, cool_down()
///                 ┌───────────────────────────────────▶ cooling
///                 │ ◀─────────────────────────────────── │ a longer one
///  replace(),     │            the time is up            │ replaces it
///  revive()       │                                      │
///     │           │                                      │ rejected
///     └───────▶ usable ───────────────┐                  │
///                 ▲        rejected   ▼                  ▼
///                 │               quarantined ◀──────────┘
///                 │                 │     ▲
///                 │    the time is  │     │ rejected again: twice as long;
///                 │    up: one goes │     │ nothing shown: due at once
///                 │                 ▼     │
///                 └───────────── probing ─┘          retire() ──▶ retired
///                    healed                       (out of any state)
/// ```
///
/// 1. A *usable* account serves in its turn.
/// 2. A *cooling* account serves again when its time is up; until then only a request that is strictly
///    pinned to it uses it. A cooldown only grows: weaker or older evidence never shortens it.
/// 3. Limits of all models and of one model are kept apart: a model that cools (limited, or not found)
///    leaves the account usable for the others. At most 64 models are kept for each account; beyond
///    that, the model whose cooldown ends soonest is forgotten.
/// 4. A rejected credential is *quarantined*: no request uses it until the time is up. Ten requests that
///    are rejected with it are one incident; the first one quarantines and reports. The times are in
///    [`Quarantine`](crate::pool::Quarantine).
/// 5. When the time is up, one request becomes the *probe*. It heals the account if it succeeds, or
///    fails in a way that shows the credential to be good (forbidden, limited, out of quota, a model
///    fault). It doubles the time if it is rejected again, without another report. If it shows nothing
///    (a transient failure, a request that the upstream rejects, a dropped future), the next request
///    may probe.
/// 6. A probe that hangs remains the only one until it ends or is dropped: put a timeout below.
/// 7. A *retired* account stays out until it is replaced or revived.
/// 8. A rejection belongs to one generation of the credential. Evidence about an old generation never
///    touches the new one, except that a limit also counts for a renewal by the account's own source.
///    [`replace`](Self::replace) clears rejection, cooldowns and doubling.
/// 9. A rejection of a request that was sent before the last probe, or before
///    [`revive`](Self::revive) of a rejected account, quarantines nothing: it is outdated.
///
/// # Sources
///
/// 1. An account with a [source](crate::credential::TokenSource) is *refreshing* while it has no token
///    that may be sent, or too little time left, and the source is called. Other accounts serve
///    meanwhile; a request without another account waits, at most for
///    [`ready_within`](crate::pool::PoolBuilder::ready_within).
/// 2. A rejected credential is replaced instead of quarantined, where its source
///    [may have another](crate::credential::TokenSource::can_renew_after). If the source gives the same
///    one again, or one that is rejected as well, that one is quarantined.
/// 3. A source that fails is not called again for half a second, doubled with each failure up to a
///    minute. Each row of failures is reported once; a token that is valid stays in use.
/// 4. A source that gives no token until an operator acts *retires* the account, as soon as the current
///    token may not be sent any more.
/// 5. A credential without a source retires its account when it [expires](crate::credential::Expires).
///
/// # Costs
///
/// Selecting an account takes as long with 100,000 accounts as with one, also when few of them can
/// serve, and takes no lock. The clock is read only while an account is out, or where a credential
/// expires. Exceptions: a sticky key looks at each account that can serve, and a list of
/// [models](Account::models) at each account before one that may serve the model.
/// [`insert`](Self::insert) and [`remove`](Self::remove) copy the list of accounts: give many accounts
/// to the builder instead of inserting them one by one.
///
/// An account takes at most 600 bytes, plus its id and its credential (each twice, with what keeps
/// track of them).
///
/// # Clone
///
/// Cheap: clones are handles to the same pool. When the last handle is dropped, requests in flight end
/// with the credential that they have.
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// Closes the pool when the last handle is dropped; tasks may hold the shared state longer.
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        admin::shut_down(&self.0);
    }
}

impl Pool {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { owner: Arc::new(Owner(shared)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// Inserts an account.
    ///
    /// # Errors
    ///
    /// The id is taken, or the account is not usable in this pool. The pool is unchanged.
    pub fn insert(&self, account: Account) -> Result<(), PoolError> {
        admin::insert(self.shared(), vec![account])
    }

    /// Replaces the credential of an account. Returns the generation of the new one.
    ///
    /// The account is usable again, whatever happened to the old credential. Requests in flight end
    /// with the old one, and their outcomes no longer count.
    ///
    /// # Errors
    ///
    /// No account has this id, or the credential uses a header that is a fixed header of an account.
    /// The pool is unchanged.
    pub fn replace(&self, id: &str, credential: Credential) -> Result<u64, PoolError> {
        self.replace_until(id, credential, Expires::Unknown)
    }

    /// Replaces the credential of an account by one whose expiry is known. Returns its generation.
    ///
    /// # Errors
    ///
    /// Those of [`replace`](Self::replace).
    pub fn replace_until(
        &self,
        id: &str,
        credential: Credential,
        expires: Expires,
    ) -> Result<u64, PoolError> {
        admin::replace(self.shared(), id, credential, expires)
    }

    /// Removes an account. Returns `false` if no account has this id. Reports nothing.
    pub fn remove(&self, id: &str) -> bool {
        admin::remove(self.shared(), id)
    }

    /// Puts an account back into rotation with its current credential. Returns `false` if no account
    /// has this id.
    ///
    /// Clears rejection, cooldowns (those of models too) and doubling. The source may be called again;
    /// it is called when the credential is rejected or expires.
    pub fn revive(&self, id: &str) -> bool {
        admin::revive(self.shared(), id)
    }

    /// Takes an account out until it is replaced or revived. Returns `false` if no account has this id.
    /// Reports nothing.
    pub fn retire(&self, id: &str) -> bool {
        admin::retire(self.shared(), id)
    }

    /// Quarantines an account as if the upstream had rejected its credential, and reports that.
    ///
    /// Returns `false` if no account has this id, or it is quarantined or retired already.
    pub fn invalidate(&self, id: &str, reason: Reason) -> bool {
        admin::invalidate(self.shared(), id, reason)
    }

    /// Cools an account, or one model of it, for `time`, at most for the pool's
    /// [`max_rest`](crate::pool::PoolBuilder::max_rest).
    ///
    /// Returns whether the cooldown is longer than before: it only grows.
    pub fn cool_down(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        admin::cool_down(self.shared(), id, model, time)
    }

    /// Returns whether an account has this id.
    pub fn contains(&self, id: &str) -> bool {
        self.shared().roster.load().find(id).is_some()
    }

    /// Returns the number of accounts, usable or not.
    pub fn len(&self) -> usize {
        self.shared().len.load(Ordering::Relaxed)
    }

    /// Returns whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until an account can serve, and calls the sources for missing tokens.
    ///
    /// A source that is down is called repeatedly. A dead pool, or one whose accounts all cool, is an
    /// error at once.
    ///
    /// # Errors
    ///
    /// No account can serve, and none will once its source has answered; or that takes longer than
    /// requests [wait](crate::pool::PoolBuilder::ready_within). Without the timer of a tokio runtime it
    /// fails at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: calls to sources go on.
    pub async fn wait_ready(&self) -> Result<(), NotReady> {
        wait_ready(self.shared()).await
    }

    /// Returns a stream of the pool's states: the current one, and one after each change.
    ///
    /// Changes that come faster than they are taken are merged. The stream ends with the pool's last
    /// handle, and does not count as one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use tower_failover::{pool::State, Account, Credential, Pool};
    ///
    /// let pool = Pool::builder()
    ///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
    ///     .any_origin()
    ///     .build()?;
    /// let mut changes = pool.changes();
    /// assert_eq!(changes.next().await.unwrap().accounts[0].state, State::Usable);
    /// pool.cool_down("alice", None, Duration::from_secs(30));
    /// assert_eq!(changes.next().await.unwrap().accounts[0].state, State::Cooling);
    /// drop(pool);
    /// assert_eq!(changes.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(&self) -> PoolChanges {
        PoolChanges::new(self.shared())
    }

    /// Returns the current state of every account, for a status page. It changes nothing.
    pub fn view(&self) -> PoolView {
        view(self.shared(), &mut Now::unread())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("id", &self.id())
            .field("accounts", &self.len())
            .field("selection", &self.shared().settings.selection)
            .finish_non_exhaustive()
    }
}
