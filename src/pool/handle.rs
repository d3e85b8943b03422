//! The pool as its users hold it.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    builder::PoolBuilder, error::PoolError, expiry_watch::PoolChanges, shared::Shared,
    view::PoolView, wait::NotReady,
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
///     │           │                                      │ refused
///     └───────▶ usable ───────────────┐                  │
///                 ▲        refused    ▼                  ▼
///                 │               quarantined ◀──────────┘
///                 │                 │     ▲
///                 │    the time is  │     │ refused again: twice as long;
///                 │    up: one goes │     │ nothing shown: due at once
///                 │                 ▼     │
///                 └───────────── probing ─┘          retire() ──▶ retired
///                    healed                       (out of any state)
/// ```
///
/// 1. A *usable* account serves in its turn.
/// 2. A *resting* one serves again when the time is up; until then only a request that is strictly
///    pinned to it uses it. The time only grows: what is weaker or older never shortens it.
/// 3. Whether it is limited for all models or for one is kept apart: a model that rests (limited,
///    or not found) leaves the account usable for the others. At most 64 models are kept for each
///    account; of more, the one whose rest ends soonest is forgotten.
/// 4. A refused credential is *quarantined*: nothing uses it until the time is up. Ten requests that
///    are refused with it are one incident; the first one quarantines and reports. The time is in
///    [`Quarantine`](crate::pool::Quarantine).
/// 5. When the time is up, one request becomes the *probe*. It heals the account if it succeeds, or
///    fails in a way that shows the credential to be good (forbidden, limited, out of quota, a fault
///    of the model). It doubles the time if it is refused again, and that reports nothing new. If it
///    shows nothing (a transient fault, a request that the upstream rejects, a dropped future), it
///    gives its slot back and changes nothing.
/// 6. A probe that hangs holds its slot until it ends or is dropped: put a timeout below.
/// 7. A *retired* account stays out until it is replaced or revived.
/// 8. All this belongs to one generation of the credential. What a request learns about an old
///    generation never touches the new one; [`replace`](Self::replace) clears refusal, rests and
///    doubling.
/// 9. An answer to a request that was sent before the last probe, or before [`revive`](Self::revive) of
///    a refused account, quarantines nothing: it is older than what is known.
///
/// # Sources
///
/// 1. An account with a [source](crate::credential::TokenSource) is *refreshing* while it has nothing to
///    send, or too little time left, and the source is asked. Other accounts serve meanwhile; a request
///    that has no other waits, at most for [`ready_within`](PoolBuilder::ready_within).
/// 2. A refused credential is replaced instead of quarantined, where its source
///    [may have another](crate::credential::TokenSource::can_renew_after). The same one again, or one that
///    is refused as well, is quarantined like any.
/// 3. A source that fails is left alone for half a second, doubled each time up to a minute. That is
///    told once for each row of failures; a token that is good stays in use.
/// 4. A source that gives nothing until a person acts *retires* the account, as soon as the token there
///    is may not be sent any more.
/// 5. A credential that nothing replaces retires its account when it [ends](crate::credential::Expires).
///
/// # Costs
///
/// Choosing takes as long with 100,000 accounts as with one, also when few of them can serve, and
/// takes no lock; the clock is read only while somebody rests, or where a credential ends. Exceptions: a sticky key looks at each
/// account that can serve, a list of [models](Account::models) at each that comes before one that may
/// serve the model. [`insert`](Self::insert) and [`remove`](Self::remove) copy the list of accounts:
/// give many accounts to the builder, not one after the other to `insert`.
///
/// An account takes at most 600 bytes, and the bytes of its id and of its credential (for each twice,
/// with what keeps track of them).
///
/// # Clone
///
/// Cheap; clones are handles to the same pool. When the last one goes, what is in flight ends with
/// what it has.
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// The handles' side of the hub: the accounts have it too, and it has the accounts.
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.shut_down();
    }
}

impl Pool {
    /// A pool to be filled.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { owner: Arc::new(Owner(shared)) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// Takes in one more account.
    ///
    /// # Errors
    ///
    /// Its id is taken, or the account is not usable in this pool; the pool is as it was.
    pub fn insert(&self, account: Account) -> Result<(), PoolError> {
        self.shared().insert(vec![account])
    }

    /// Gives an account a new credential, and tells the generation of it.
    ///
    /// The account is usable again, whatever was held against the old credential. Requests in flight
    /// end with the old one, and what they learn about it counts no more.
    ///
    /// # Errors
    ///
    /// No account has this id, or the credential goes into a header that is a fixed one of some
    /// account; the pool is as it was.
    pub fn replace(&self, id: &str, credential: Credential) -> Result<u64, PoolError> {
        self.replace_until(id, credential, Expires::Unknown)
    }

    /// Gives an account a new credential whose end is known, and tells the generation of it.
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
        self.shared().replace(id, credential, expires)
    }

    /// Takes an account out for good, and tells whether it was there. Nobody is told.
    pub fn remove(&self, id: &str) -> bool {
        self.shared().remove(id)
    }

    /// Takes an account in again with the credential it has, and tells whether it is there.
    ///
    /// Nothing that was held against it counts any more: refusal, rests, doubling, resting models. It
    /// is sent as it is, and its source, which may be asked again, is asked when it is refused or ends.
    pub fn revive(&self, id: &str) -> bool {
        self.shared().revive(id)
    }

    /// Takes an account out until it is replaced or revived, and tells whether it is there. Nobody is
    /// told.
    pub fn retire(&self, id: &str) -> bool {
        self.shared().retire(id)
    }

    /// Quarantines an account as if the upstream had refused its credential, and reports that.
    ///
    /// Tells whether it changed anything: `false` when no such account is there, or it is
    /// quarantined or retired already.
    pub fn invalidate(&self, id: &str, reason: Reason) -> bool {
        self.shared().invalidate(id, reason)
    }

    /// Leaves an account, or one model of it, alone for `time`, at most for the longest rest of the
    /// pool.
    ///
    /// Tells whether it now rests longer than before: a rest only grows.
    pub fn cool_down(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        self.shared().cool_down(id, model, time)
    }

    /// Whether an account has this id.
    pub fn contains(&self, id: &str) -> bool {
        self.shared().roster.load().find(id).is_some()
    }

    /// How many accounts there are, usable or not.
    pub fn len(&self) -> usize {
        self.shared().len.load(Ordering::Relaxed)
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until some account can serve; the sources are asked for what is missing.
    ///
    /// One that is down is asked again and again. A pool that is dead, or whose accounts must all
    /// rest, is not waited for.
    ///
    /// # Errors
    ///
    /// No account can serve, and none will once its source has answered; or that takes longer than
    /// requests [wait](PoolBuilder::ready_within). Without the timer of a tokio runtime nothing is
    /// waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing: what a source is asked goes on.
    pub async fn wait_ready(&self) -> Result<(), NotReady> {
        super::wait::wait_ready(self.shared()).await
    }

    /// The pool as it is now, and after each change from then on: for a status page that is pushed.
    ///
    /// Changes that come faster than they are taken are one. It ends with the pool's last handle, and
    /// is none itself.
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

    /// Every account as it is now, for a status page. Looking changes nothing, and takes no probe.
    pub fn view(&self) -> PoolView {
        self.shared().view(&mut Now::unread())
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
