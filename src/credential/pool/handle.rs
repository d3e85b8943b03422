//! The pool as its users hold it.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;
use tokio::time::Instant;

use super::{
    admitted::Admitted,
    builder::PoolBuilder,
    error::PoolError,
    hub::Hub,
    picked::Picked,
    settings::{Cascade, OwnCredential},
    sync::Ordering,
    view::PoolView,
    want::{Unavailable, Want},
    word::{Kind, Since},
};
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{Account, Credential},
};

/// The accounts that may serve.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::credential::{Account, Credential, Pool, State};
///
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
///     .account(Account::new("bob", Credential::bearer("tok-bob")?).priority(-1))
///     .origins(["https://api.example.com"])
///     .help("update your tokens in Settings")
///     .build()?;
///
/// // While requests are under way, and without a restart:
/// assert!(pool.rest("alice", None, Duration::from_secs(30)));
/// assert_eq!(pool.view().accounts[0].state, State::Resting);
/// assert_eq!(pool.replace("alice", Credential::bearer("tok-alice-2")?)?, 2);
/// assert_eq!(pool.view().accounts[0].state, State::Usable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # States
///
/// ```text
///                     limited, out of quota, rest()
///                 ┌───────────────────────────────────▶ resting
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
///    [`Quarantine`](super::Quarantine).
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
/// # Costs
///
/// Choosing takes as long with 100,000 accounts as with one, also when few of them can serve, and
/// takes no lock; the clock is read only while somebody rests. Exceptions: a sticky key looks at each
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
pub(super) struct Owner(pub(super) Arc<Hub>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Pool {
    /// A pool to be filled.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { owner: Arc::new(Owner(hub)) }
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.owner.0
    }

    /// Takes in one more account.
    ///
    /// # Errors
    ///
    /// Its id is taken, or the account is not usable in this pool; the pool is as it was.
    pub fn insert(&self, account: Account) -> Result<(), PoolError> {
        self.hub().insert(vec![account])
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
        self.hub().replace(id, credential)
    }

    /// Takes an account out for good, and tells whether it was there. Nobody is told.
    pub fn remove(&self, id: &str) -> bool {
        self.hub().remove(id)
    }

    /// Takes an account in again with the credential it has, and tells whether it is there.
    ///
    /// Nothing that was held against it counts any more: refusal, rests, doubling, resting models.
    pub fn revive(&self, id: &str) -> bool {
        self.hub().revive(id)
    }

    /// Takes an account out until it is replaced or revived, and tells whether it is there. Nobody is
    /// told.
    pub fn retire(&self, id: &str) -> bool {
        self.hub().retire(id)
    }

    /// Quarantines an account as if the upstream had refused its credential, and reports that.
    ///
    /// Tells whether it changed anything: `false` when no such account is there, or it is
    /// quarantined or retired already.
    pub fn invalidate(&self, id: &str, reason: Reason) -> bool {
        self.hub().invalidate(id, reason)
    }

    /// Leaves an account, or one model of it, alone for `time`, at most for the longest rest of the
    /// pool.
    ///
    /// Tells whether it now rests longer than before: a rest only grows.
    pub fn rest(&self, id: &str, model: Option<&str>, time: Duration) -> bool {
        self.hub().rest(id, model, time)
    }

    /// Whether an account has this id.
    pub fn contains(&self, id: &str) -> bool {
        self.hub().roster.load().find(id).is_some()
    }

    /// How many accounts there are, usable or not.
    pub fn len(&self) -> usize {
        self.hub().len.load(Ordering::Relaxed)
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every account as it is now, for a status page. Looking changes nothing, and takes no probe.
    pub fn view(&self) -> PoolView {
        self.hub().view(&mut Now::unread())
    }
}

/// What the stages need.
impl Pool {
    /// An account for an attempt that starts now.
    pub(crate) fn pick(&self, want: &Want<'_>, now: &mut Now) -> Result<Picked, Unavailable> {
        self.hub().pick(want, now)
    }

    /// The account whose turn it is, for a request that any account will do for. `None`: ask
    /// [`pick`](Self::pick).
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(crate) fn turn(&self, now: &mut Now) -> Option<Picked> {
        self.hub().turn(now)
    }

    /// An account for an attempt that starts at `at`: one whose rest is over by then counts, one
    /// that is quarantined does not.
    pub(crate) fn pick_at(&self, want: &Want<'_>, at: Instant) -> Result<Picked, Unavailable> {
        self.hub().pick_at(want, at)
    }

    /// Whether some account serves only some models: then choosing needs to know which is wanted.
    pub(crate) fn is_restricted(&self) -> bool {
        self.hub().restricted.load(Ordering::Relaxed)
    }

    /// Whether some account could serve this model now. As slow as there are accounts: for those
    /// who have failed already.
    pub(crate) fn can_serve(&self, model: &str, now: &mut Now) -> bool {
        self.hub().can_serve(model, now)
    }

    /// Whether every account is refused or retired, and none is due for a probe. `false` when that
    /// would take a closer look. Reads the clock only when no account is alive.
    pub(crate) fn surely_dead(&self) -> bool {
        let hub = self.hub();
        // Where some serve only some models, what is answered depends on the request's.
        if hub.alive() > 0 || self.is_restricted() || !hub.roster.load().usable.is_empty() {
            return false;
        }
        let next = hub.due.next();
        next == u64::MAX || hub.passed(Now::unread().get()) < next
    }

    /// What becomes of a credential that the caller put on the request.
    pub(crate) fn own(&self) -> OwnCredential {
        self.hub().settings.own
    }

    /// Whether the caller put a credential on the request: `Authorization`, or any header or query
    /// key that this pool uses.
    pub(crate) fn carries_own(&self, parts: &Parts) -> bool {
        self.hub().carries_own(parts)
    }

    /// Whether a request goes on after a revoked credential.
    pub(crate) fn cascade(&self) -> Cascade {
        self.hub().settings.cascade
    }

    /// What the owner of a dead pool must do.
    pub(crate) fn help(&self) -> Option<&Arc<str>> {
        self.hub().settings.help.as_ref()
    }

    /// The pool's number, unique in the process.
    pub(crate) fn id(&self) -> u32 {
        self.hub().id
    }

    /// Lets a credential pass that some request carries already, or says why it must not be sent
    /// any more.
    ///
    /// One that was replaced meanwhile counts as refused: whoever put it on the request has a newer
    /// one. `probe` says that the request is the probe of its account.
    pub(crate) fn admit(
        &self,
        account: u32,
        generation: u64,
        probe: bool,
    ) -> Result<Admitted, Code> {
        let roster = self.hub().roster.load();
        let slot = roster.by_number(account).ok_or(Code::CredentialInvalid)?;
        let current = slot.current.load();
        if current.number != generation {
            return Err(Code::CredentialInvalid);
        }
        let seen = current.word();
        if seen.is_alive() || probe && seen.kind() == Kind::Probing {
            let generation = arc_swap::Guard::into_inner(current);
            Ok(Admitted { generation, since: Since { seen, probe } })
        } else {
            Err(Code::from(seen.reason()))
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("id", &self.id())
            .field("accounts", &self.len())
            .field("choose", &self.hub().settings.choose)
            .finish_non_exhaustive()
    }
}
