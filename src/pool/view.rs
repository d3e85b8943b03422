//! The state of a pool for a status page.

use std::{sync::Arc, time::Duration};

use super::{
    account::{Entry, GenerationState, Kind},
    shared::Shared,
};
use crate::{
    classify::Reason,
    clock::Now,
    sync::{AtomicU64, Ordering},
};

/// The state of every account of a pool, without secrets.
///
/// With feature `serde` it can be serialized; times are seconds, reasons and states are the words of
/// their `as_str`.
///
/// ```
/// use tower_failover::{pool::State, Account, Credential, Pool};
///
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?).group("studio"))
///     .any_origin()
///     .build()?;
/// pool.retire("alice");
///
/// let view = pool.view();
/// let alice = &view.accounts[0];
/// assert_eq!((alice.state, alice.generation, alice.counts.sent), (State::Retired, 1, 0));
/// assert_eq!(alice.group.as_deref(), Some("studio"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolView {
    /// The accounts as they were listed.
    pub accounts: Vec<AccountView>,
}

/// The state of one account.
///
/// [`PoolView`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountView {
    /// Its id.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::text"))]
    pub id: Arc<str>,
    /// Its place in the list of accounts, from 1.
    pub ordinal: usize,
    /// Whether it may serve.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::state"))]
    pub state: State,
    /// Why it was rejected or taken out.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::reason"))]
    pub reason: Option<Reason>,
    /// Whether it cools because its quota is used up.
    pub out_of_quota: bool,
    /// The time from now until it may be used; while it is refreshing, until its source is called again.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_seconds"))]
    pub usable_in: Option<Duration>,
    /// How its attempts ended.
    pub counts: Counts,
    /// The number of attempts in flight; where the pool selects by it, the number of requests whose
    /// response is not finished.
    pub in_flight: u64,
    /// The generation of its credential, from 1; 0 while its source has not given the first.
    pub generation: u64,
    /// Its group.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_text"))]
    pub group: Option<Arc<str>>,
    /// Its tier.
    pub priority: i32,
    /// How long its credential is valid, if that is known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_seconds"))]
    pub expires_in: Option<Duration>,
    /// The models that cool while the account serves others.
    pub model_cooldowns: Vec<ModelCooldown>,
}

/// Whether an account may serve.
///
/// See the [drawing](crate::Pool#states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Usable,
    /// It is limited or out of quota until a time.
    Cooling,
    /// Its credential was rejected; one probe is sent when the time is up.
    Quarantined,
    /// A probe is in flight.
    Probing,
    /// It is out until it is replaced or revived.
    Retired,
    /// A call to its source is due or in progress; it serves when a token arrives.
    Refreshing,
}

/// The outcomes of an account's attempts.
///
/// [`PoolView`] has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// Attempts sent.
    pub sent: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those whose credential was rejected.
    pub rejected: u64,
    /// Those that were limited or out of quota.
    pub limited: u64,
}

/// A model that cools for one account.
///
/// [`PoolView`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ModelCooldown {
    /// The model.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::text"))]
    pub model: Arc<str>,
    /// The time from now until the account may serve it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::seconds"))]
    pub usable_in: Duration,
}

impl State {
    /// Returns a stable code for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Cooling => "cooling",
            Self::Quarantined => "quarantined",
            Self::Probing => "probing",
            Self::Retired => "retired",
            Self::Refreshing => "refreshing",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) fn view(shared: &Shared, now: &mut Now) -> PoolView {
    let roster = shared.roster.load();
    let mut accounts: Vec<_> =
        roster.entries.iter().map(|entry| view_one(shared, entry, now)).collect();
    accounts.sort_by_key(|account| account.ordinal);
    PoolView { accounts }
}

fn view_one(shared: &Shared, entry: &Entry, now: &mut Now) -> AccountView {
    let generation = entry.current.load();
    let (packed, account, lifetime) = (generation.state(), &entry.account, &generation.lifetime);
    let mut state = shown(packed);
    let mut usable_in = None;
    if matches!(state, State::Cooling | State::Quarantined) {
        usable_in = Some(shared.remaining(packed.until(), now.get()));
    }
    if state == State::Cooling && usable_in == Some(Duration::ZERO) {
        (state, usable_in) = (State::Usable, None);
    }
    if state == State::Refreshing && !packed.is_under_way() && packed.until() > 0 {
        usable_in = Some(shared.remaining(packed.until(), now.get()));
    }
    let mut model_cooldowns = Vec::new();
    if packed.has_model_cooldowns() {
        let at = now.get();
        generation.model_cooldowns(|models| {
            model_cooldowns.extend(models.cooling(shared.passed(at)).map(|(model, until)| {
                ModelCooldown { model: Arc::clone(model), usable_in: shared.remaining(until, at) }
            }));
        });
    }
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = &account.counts;
    let open = u64::from(account.open.load(Ordering::Relaxed));
    AccountView {
        id: Arc::clone(&account.id),
        ordinal: account.ordinal.load(Ordering::Relaxed) as usize,
        state,
        reason: (!packed.is_alive() || packed.was_rejected()).then(|| packed.reason()),
        out_of_quota: state == State::Cooling && packed.kind() == Kind::Quota,
        usable_in,
        in_flight: open.max(counts.in_flight()),
        counts: Counts {
            sent: read(&counts.sent),
            succeeded: read(&counts.succeeded),
            rejected: read(&counts.rejected),
            limited: read(&counts.limited),
        },
        generation: generation.number,
        group: account.group_name().cloned(),
        priority: account.priority,
        expires_in: (lifetime.end != u64::MAX).then(|| shared.remaining(lifetime.end, now.get())),
        model_cooldowns,
    }
}

const fn shown(state: GenerationState) -> State {
    match state.kind() {
        Kind::Usable => State::Usable,
        Kind::Limited | Kind::Quota => State::Cooling,
        Kind::Quarantined => State::Quarantined,
        Kind::Probing => State::Probing,
        Kind::Retired => State::Retired,
        Kind::Expiring | Kind::Absent => State::Refreshing,
    }
}

/// Serialization of the view's fields.
#[cfg(feature = "serde")]
#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref)]
mod words {
    use std::{sync::Arc, time::Duration};

    use serde::{Serialize, Serializer};

    use super::State;
    use crate::classify::Reason;

    pub(crate) fn text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(crate) fn maybe_text<S: Serializer>(
        text: &Option<Arc<str>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(to)
    }

    pub(crate) fn state<S: Serializer>(state: &State, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(state.as_str())
    }

    pub(crate) fn reason<S: Serializer>(reason: &Option<Reason>, to: S) -> Result<S::Ok, S::Error> {
        reason.as_ref().map(Reason::as_str).serialize(to)
    }

    pub(crate) fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(time.as_secs_f64())
    }

    pub(crate) fn maybe_seconds<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(to)
    }
}
