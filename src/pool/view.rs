//! The pool as a status page shows it.

use std::{sync::Arc, time::Duration};

use super::{
    account::{Kind, Slot, Word},
    shared::Shared,
};
use crate::{
    classify::Reason,
    clock::Now,
    sync::{AtomicU64, Ordering},
};

/// Every account of a pool, without any secret.
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

/// One account.
///
/// [`PoolView`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AccountView {
    /// Its id.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::text"))]
    pub id: Arc<str>,
    /// Its place as listed, from 1.
    pub ordinal: usize,
    /// What may be done with it.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::state"))]
    pub state: State,
    /// Why it was refused, or what took it out.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::reason"))]
    pub reason: Option<Reason>,
    /// Whether it rests because its quota is used up.
    pub out_of_quota: bool,
    /// How long nothing uses it, from now; of one that is refreshed, when its source is asked again.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_seconds"))]
    pub until: Option<Duration>,
    /// How its attempts ended.
    pub counts: Counts,
    /// How many attempts have not ended; where the pool chooses by requests in flight, how many of
    /// those there are.
    pub in_flight: u64,
    /// The generation of its credential.
    pub generation: u64,
    /// Its group.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_text"))]
    pub group: Option<Arc<str>>,
    /// Its tier.
    pub priority: i32,
    /// How long its credential is good, when that is known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::maybe_seconds"))]
    pub expires_in: Option<Duration>,
    /// The models that rest, while others are served.
    pub model_cooldowns: Vec<ModelCooldown>,
}

/// What may be done with an account.
///
/// See the [drawing](crate::Pool#states).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Usable,
    /// Limited or out of quota until a time.
    Resting,
    /// Its credential was refused; one probe goes out when the time is up.
    Quarantined,
    /// That probe is out.
    Probing,
    /// Out until it is replaced or revived.
    Retired,
    /// Its source is asked for a credential, and it serves when that has come.
    Refreshing,
}

/// How an account's attempts ended.
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
    /// Those whose credential was refused.
    pub refused: u64,
    /// Those that were limited or out of quota.
    pub limited: u64,
}

/// A model that must rest for one account.
///
/// [`PoolView`] has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ModelCooldown {
    /// The model.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::text"))]
    pub model: Arc<str>,
    /// For how long, from now.
    #[cfg_attr(feature = "serde", serde(serialize_with = "words::seconds"))]
    pub until: Duration,
}

impl State {
    /// A stable word for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Resting => "resting",
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

impl Shared {
    pub(crate) fn view(&self, now: &mut Now) -> PoolView {
        let roster = self.roster.load();
        let mut accounts: Vec<_> =
            roster.slots.iter().map(|slot| self.view_one(slot, now)).collect();
        accounts.sort_by_key(|account| account.ordinal);
        PoolView { accounts }
    }

    fn view_one(&self, slot: &Slot, now: &mut Now) -> AccountView {
        let generation = slot.current.load();
        let (word, member, ages) = (generation.word(), &slot.member, &generation.ages);
        let mut state = shown(word);
        let mut until = None;
        if matches!(state, State::Resting | State::Quarantined) {
            until = Some(self.remaining(word.until(), now.get()));
        }
        if state == State::Resting && until == Some(Duration::ZERO) {
            (state, until) = (State::Usable, None);
        }
        if state == State::Refreshing && !word.is_under_way() && word.until() > 0 {
            until = Some(self.remaining(word.until(), now.get()));
        }
        let mut model_cooldowns = Vec::new();
        if word.has_model_rests() {
            let at = now.get();
            generation.models(|models| {
                model_cooldowns.extend(models.resting(self.passed(at)).map(|(model, until)| {
                    ModelCooldown { model: Arc::clone(model), until: self.remaining(until, at) }
                }));
            });
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let tally = &member.counts;
        let open = u64::from(member.open.load(Ordering::Relaxed));
        AccountView {
            id: Arc::clone(&member.id),
            ordinal: member.ordinal.load(Ordering::Relaxed) as usize,
            state,
            reason: (!word.is_alive() || word.was_refused()).then(|| word.reason()),
            out_of_quota: state == State::Resting && word.kind() == Kind::Quota,
            until,
            in_flight: open.max(tally.in_flight()),
            counts: Counts {
                sent: read(&tally.sent),
                succeeded: read(&tally.succeeded),
                refused: read(&tally.refused),
                limited: read(&tally.limited),
            },
            generation: generation.number,
            group: member.group_name().cloned(),
            priority: member.priority,
            expires_in: (ages.end != u64::MAX).then(|| self.remaining(ages.end, now.get())),
            model_cooldowns,
        }
    }
}

const fn shown(word: Word) -> State {
    match word.kind() {
        Kind::Usable => State::Usable,
        Kind::Limited | Kind::Quota => State::Resting,
        Kind::Quarantined => State::Quarantined,
        Kind::Probing => State::Probing,
        Kind::Retired => State::Retired,
        Kind::Expiring | Kind::Absent => State::Refreshing,
    }
}

/// How the view's fields are written.
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
