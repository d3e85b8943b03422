//! The settings of a pool.

use std::{fmt, sync::Arc, time::Duration};

use super::error::PoolError;
use crate::{credential::Credential, report::PoolDead};

/// How an account is chosen among those of the highest tier that can serve.
///
/// A pinned or a sticky request goes to its account with any of them.
///
/// [`PoolBuilder`](crate::pool::PoolBuilder) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// Each account in turn. Exact on one thread; each thread takes turns of its own, so that no cell is
    /// written by all of them.
    #[default]
    RoundRobin,
    /// The account with the fewest requests in flight; one ends when the response's body is dropped.
    /// Exact while at most 64 accounts of a tier can serve, else the best of 8 samples.
    LeastInFlight,
    /// By [weight](crate::Account::weight): exact over one cycle (as many requests as the
    /// weights add up to) and interleaved, like the round robin on one thread. With more than 64
    /// accounts in a tier, the turn of one that cannot serve goes to another by weight, or after 8
    /// tries to the next in order.
    Weighted,
    /// The first account that can serve, until it no longer can.
    FillFirst,
    /// The account with the most requests or tokens left, by the rate-limit headers of its last answer;
    /// an account without such headers comes first. Exact while at most 64 accounts of a tier can serve,
    /// else the best of 8 samples.
    MostRemaining,
}

/// The order of the accounts within a tier.
///
/// [`PoolBuilder`](crate::pool::PoolBuilder) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Order {
    /// As they were added.
    #[default]
    Listed,
    /// By id, byte by byte, whenever they were added.
    ById,
}

/// Whether a request goes on to another account after the upstream said that a credential was
/// *revoked*.
///
/// Rotating through the accounts of one owner can get them invalidated one by one. Other rejections
/// (invalid, expired, inactive) always rotate, and so does an account without a group.
///
/// [`PoolBuilder`](crate::pool::PoolBuilder) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cascade {
    /// The request does not rotate to another account of the same
    /// [group](crate::Account::group); to accounts of other groups, and of none, it does.
    #[default]
    SameGroup,
    /// The request rotates on to any account, those of the same group as well.
    All,
    /// The request does not rotate at all.
    Never,
}

/// The handling of a caller's own credential on a request.
///
/// [`PoolBuilder`](crate::pool::PoolBuilder) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnCredential {
    /// It is sent as it is; its failure never harms the pool.
    #[default]
    Keep,
    /// It is taken off, and one of the pool's is put on.
    Replace,
    /// The request is answered locally, and nothing is sent.
    Refuse,
}

/// Looks at the form of an account's token.
pub(crate) type Validate = Arc<dyn Fn(&str, &str) -> Result<(), &'static str> + Send + Sync>;

/// A hook for a pool that has died.
pub(crate) type OnDead = Arc<dyn Fn(&PoolDead) + Send + Sync>;

/// A hook for a pool that has recovered.
pub(crate) type OnRecovered = Arc<dyn Fn() + Send + Sync>;

/// The settings for token sources and for the expiry of credentials.
#[derive(Clone)]
pub(crate) struct Sources {
    /// How long a source may take.
    pub(crate) refresh_deadline: Duration,
    /// How long a request waits for a credential.
    pub(crate) ready_within: Duration,
    pub(crate) validate: Option<Validate>,
    /// How long before its end a credential that nothing replaces is told of, the longest first, in
    /// milliseconds.
    pub(crate) leads: Vec<u64>,
    pub(crate) on_dead: Option<OnDead>,
    pub(crate) on_recovered: Option<OnRecovered>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            refresh_deadline: Duration::from_secs(10),
            ready_within: Duration::from_secs(15),
            validate: None,
            leads: vec![60 * 60_000, 10 * 60_000],
            on_dead: None,
            on_recovered: None,
        }
    }
}

impl Sources {
    /// Checks the form of an account's token with the user's function.
    pub(crate) fn validate_token(
        &self,
        id: &str,
        credential: &Credential,
    ) -> Result<(), PoolError> {
        let Some(validate) = &self.validate else { return Ok(()) };
        let token = std::str::from_utf8(credential.token()).unwrap_or_default();
        validate(id, token).map_err(|fault| PoolError::Format { id: id.into(), fault })
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("refresh_deadline", &self.refresh_deadline)
            .field("ready_within", &self.ready_within)
            .field("leads", &self.leads)
            .finish_non_exhaustive()
    }
}

/// How long a refused credential is left alone before one request may probe it.
///
/// | | default |
/// | --- | --- |
/// | this generation has succeeded before | 5 s |
/// | it never has | 5 min |
/// | it was revoked | 1 h |
/// | at most; when revoked | 1 h; 24 h |
///
/// Each failed probe doubles the time, up to the most; a success starts anew.
///
/// [`PoolBuilder`](crate::pool::PoolBuilder) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    pub(crate) trusted: Duration,
    pub(crate) untrusted: Duration,
    pub(crate) revoked: Duration,
    pub(crate) max: Duration,
    pub(crate) max_revoked: Duration,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self::new()
    }
}

impl Quarantine {
    /// The times of the table above.
    pub const fn new() -> Self {
        Self {
            trusted: Duration::from_secs(5),
            untrusted: Duration::from_secs(5 * 60),
            revoked: Duration::from_secs(60 * 60),
            max: Duration::from_secs(60 * 60),
            max_revoked: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// The first time for a credential that has succeeded before.
    #[must_use]
    pub const fn trusted(mut self, first: Duration) -> Self {
        self.trusted = first;
        self
    }

    /// The first time for a credential that never succeeded.
    #[must_use]
    pub const fn untrusted(mut self, first: Duration) -> Self {
        self.untrusted = first;
        self
    }

    /// The first time for a credential that was revoked.
    #[must_use]
    pub const fn revoked(mut self, first: Duration) -> Self {
        self.revoked = first;
        self
    }

    /// The longest time that doubling leads to.
    #[must_use]
    pub const fn max(mut self, longest: Duration) -> Self {
        self.max = longest;
        self
    }

    /// The longest time that doubling leads to for a credential that was revoked.
    #[must_use]
    pub const fn max_revoked(mut self, longest: Duration) -> Self {
        self.max_revoked = longest;
        self
    }
}
