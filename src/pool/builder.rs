//! Building a pool.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Uri;
use tokio::time::Instant;

use super::{
    account::{Cooldowns, millis},
    admin,
    error::{OriginFault, PoolError},
    handle::Pool,
    origin::{Origin, Origins},
    settings::{Cascade, Order, OwnCredential, Quarantine, Selection, Sources},
    shared::{Settings, Shared},
};
use crate::{
    clock::Doubling,
    credential::Account,
    report::{PoolDead, Reporter, ReporterHandle},
};

/// A builder for a [`Pool`]. Nothing is checked before [`build`](Self::build).
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{
///     pool::{Cascade, Selection, Order, OwnCredential, Quarantine}, Account, Credential, Pool,
/// };
///
/// let key = |key: &str| Credential::header(http::HeaderName::from_static("x-api-key"), key);
/// let pool = Pool::builder()
///     .account(Account::new("cheap", key("key-of-cheap")?).weight(3))
///     .account(Account::new("spare", key("key-of-spare")?).priority(-1))
///     .origins(["https://api.example.com"])
///     .selection(Selection::Weighted)
///     .order(Order::ById)
///     .cascade(Cascade::Never)
///     .own_credential(OwnCredential::Replace)
///     .quarantine(Quarantine::new().trusted(Duration::from_secs(10)))
///     .limited_cooldown(Duration::from_secs(2), Duration::from_secs(30))
///     .build()?;
/// assert_eq!(pool.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct PoolBuilder {
    accounts: Vec<Account>,
    origins: Vec<Result<Uri, usize>>,
    any_origin: bool,
    may_be_empty: bool,
    selection: Selection,
    order: Order,
    cascade: Cascade,
    own: OwnCredential,
    help: Option<Arc<str>>,
    reporter: ReporterHandle,
    cooldowns: Cooldowns,
    sources: Sources,
}

impl Pool {
    /// Returns a builder for a pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl PoolBuilder {
    fn new() -> Self {
        Self {
            accounts: Vec::new(),
            origins: Vec::new(),
            any_origin: false,
            may_be_empty: false,
            selection: Selection::default(),
            order: Order::default(),
            cascade: Cascade::default(),
            own: OwnCredential::default(),
            help: None,
            reporter: ReporterHandle::default(),
            cooldowns: Cooldowns::default(),
            sources: Sources::default(),
        }
    }

    /// Adds an account.
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }

    /// Adds accounts.
    pub fn accounts(mut self, accounts: impl IntoIterator<Item = Account>) -> Self {
        self.accounts.extend(accounts);
        self
    }

    /// Adds origins that the pool's credentials may be sent to: scheme, host and port, such as
    /// `https://api.example.com`.
    ///
    /// Origins are compared as in RFC 6454 §5: the host in any case, the port with the scheme's
    /// default. A request without an authority in its URI may always carry a credential: the client
    /// below is connected to one host. Turn off redirects in the client: the pool does not see them.
    pub fn origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: TryInto<Uri>,
    {
        for origin in origins {
            let place = self.origins.len() + 1;
            self.origins.push(origin.try_into().map_err(|_| place));
        }
        self
    }

    /// Allows credentials to be sent wherever a request goes: the URI of a request alone then decides
    /// who receives them.
    pub fn any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// Allows a pool without accounts.
    pub fn may_be_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    /// Sets how an account is selected. [`Selection::RoundRobin`] by default.
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets the order of the accounts within a tier. [`Order::Listed`] by default.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets where a request may rotate after a revoked credential. [`Cascade::SameGroup`] by default.
    pub fn cascade(mut self, cascade: Cascade) -> Self {
        self.cascade = cascade;
        self
    }

    /// Sets what happens to a caller's own credential. [`OwnCredential::Keep`] by default.
    pub fn own_credential(mut self, own: OwnCredential) -> Self {
        self.own = own;
        self
    }

    /// Sets what the owner of a dead pool must do: part of its report and of every local answer.
    pub fn help(mut self, text: impl Into<Arc<str>>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Reports incidents to `reporter`: a closure, a [`Reporter`] or a [`ReporterHandle`] that is
    /// shared with others. The default is that of [`ReporterHandle`].
    pub fn reporter(mut self, reporter: impl Reporter) -> Self {
        self.reporter = reporter.into_handle();
        self
    }

    /// Sets how long a rejected credential is quarantined.
    pub fn quarantine(mut self, quarantine: Quarantine) -> Self {
        self.cooldowns.quarantine = quarantine;
        self
    }

    /// Sets the cooldown after a 429 without `Retry-After`: `first`, doubled each time, up to `max`.
    /// 1 s and 60 s by default. Several answers within one cooldown count once.
    pub fn limited_cooldown(mut self, first: Duration, max: Duration) -> Self {
        self.cooldowns.limited = Doubling::new(first, max);
        self
    }

    /// Sets the cooldown of an account that is out of quota, without a hint. 30 min by default.
    pub fn out_of_quota_cooldown(mut self, rest: Duration) -> Self {
        self.cooldowns.out_of_quota = millis(rest);
        self
    }

    /// Sets the cooldown of a model that an account does not have. 10 min by default.
    pub fn model_cooldown(mut self, rest: Duration) -> Self {
        self.cooldowns.model = millis(rest);
        self
    }

    /// Sets the longest cooldown that a hint of the server can ask for. 24 h by default.
    pub fn max_rest(mut self, longest: Duration) -> Self {
        self.cooldowns.max_rest = millis(longest);
        self
    }

    /// Sets whether a limited account cools at all. `true` by default.
    pub fn cooling(mut self, cooling: bool) -> Self {
        self.cooldowns.cooling = cooling;
        self
    }

    /// Sets how long a call to a [source](crate::credential::TokenSource) may take. 10 s by default.
    ///
    /// A call that takes longer has failed for the requests that wait. It goes on, and the source is
    /// not called again before it has answered: a refresh token that is valid once would be sent twice.
    /// A late token is used. The call is stopped after ten times as long, or when the pool's last
    /// handle is dropped.
    pub fn refresh_deadline(mut self, longest: Duration) -> Self {
        self.sources.refresh_deadline = longest;
        self
    }

    /// Sets how long a request waits for a call to a source when no account can serve. 15 s by
    /// default; then the answer is `not_ready` (503). After a failed call, the answer comes at once,
    /// with a `Retry-After`.
    pub fn ready_within(mut self, longest: Duration) -> Self {
        self.sources.ready_within = longest;
        self
    }

    /// Sets how long before its expiry a credential without a source is reported as
    /// [`Expiring`](crate::report::TokenEventKind::Expiring), once at each of these times. 1 h and
    /// 10 min by default; the expiry itself is always reported.
    ///
    /// Needs a tokio runtime: building the pool or inserting a credential starts one task in it.
    pub fn expiry_warnings(mut self, leads: impl IntoIterator<Item = Duration>) -> Self {
        let mut leads: Vec<_> = leads.into_iter().map(millis).collect();
        leads.sort_unstable_by_key(|lead| std::cmp::Reverse(*lead));
        leads.dedup();
        self.sources.leads = leads;
        self
    }

    /// Sets a hook for the time when a rejection or an expiry leaves no usable account. It is called
    /// once until the pool recovers, and must not block.
    pub fn on_dead(mut self, hook: impl Fn(&PoolDead) + Send + Sync + 'static) -> Self {
        self.sources.on_dead = Some(Arc::new(hook));
        self
    }

    /// Sets a hook for the recovery of a dead pool. It must not block.
    pub fn on_recovered(mut self, hook: impl Fn() + Send + Sync + 'static) -> Self {
        self.sources.on_recovered = Some(Arc::new(hook));
        self
    }

    /// Sets a check of each token's form: when the pool is built, and whenever an account is inserted,
    /// replaced or refreshed. It receives the account's id and the token (of a basic credential, the
    /// password), and returns what is wrong with the token.
    ///
    /// ```
    /// use tower_failover::{Account, Credential, Pool};
    ///
    /// let pool = Pool::builder()
    ///     .account(Account::new("alice", Credential::bearer("pk-alice")?))
    ///     .any_origin()
    ///     .validate(|_, token| match token.strip_prefix("sk-") {
    ///         Some(_) => Ok(()),
    ///         None => Err("a secret key begins with `sk-`: this is the public one"),
    ///     });
    /// let error = pool.build().unwrap_err().to_string();
    /// assert!(error.contains("alice") && error.contains("public") && !error.contains("pk-alice"));
    /// # Ok::<(), tower_failover::credential::CredentialError>(())
    /// ```
    pub fn validate<F>(mut self, look: F) -> Self
    where
        F: Fn(&str, &str) -> Result<(), &'static str> + Send + Sync + 'static,
    {
        self.sources.validate = Some(Arc::new(look));
        self
    }

    /// Builds the pool.
    ///
    /// # Errors
    ///
    /// The accounts or the origins are not usable: see the variants of [`PoolError`].
    pub fn build(self) -> Result<Pool, PoolError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.accounts.is_empty() && !self.may_be_empty {
            return Err(PoolError::Empty);
        }
        if self.origins.is_empty() && !self.any_origin {
            return Err(PoolError::NoOrigins);
        }
        let listed = self.origins.iter().map(|origin| match origin {
            Ok(uri) => Origin::new(uri),
            Err(place) => Err(PoolError::Origin {
                origin: format!("origin #{place}").into(),
                fault: OriginFault::NotAUri,
            }),
        });
        let listed = listed.collect::<Result<_, _>>()?;
        let settings = Settings {
            selection: self.selection,
            order: self.order,
            cascade: self.cascade,
            own: self.own,
            help: self.help,
            origins: if self.any_origin { Origins::Any } else { Origins::Listed(listed) },
            cooldowns: self.cooldowns,
            reporter: self.reporter,
            sources: self.sources,
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let pool = Pool::new(Arc::new(Shared::new(id, settings, Instant::now())));
        admin::insert(pool.shared(), self.accounts)?;
        Ok(pool)
    }
}
