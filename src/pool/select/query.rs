//! What a request wants of the pool, and what it hears when nobody can serve.

use std::time::{Duration, SystemTime};

use crate::{
    classify::Code,
    pool::account::{Entry, GenerationState, PooledAccount},
};

/// What a request wants of the pool.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    /// The one account that may serve, or that should.
    pub(crate) pin: Option<Pin<'a>>,
    /// Requests with the same key go to the same account while it can serve.
    pub(crate) sticky: Option<&'a [u8]>,
    /// The model, when it is known.
    pub(crate) model: Option<&'a str>,
    /// Whom this request must not visit (again).
    pub(crate) avoid: Option<&'a dyn Avoid>,
    /// Whether the request may be the probe of a quarantined account.
    pub(crate) probes: bool,
    /// The model has not been looked for yet: an account some of whose models rest is shown, and not
    /// taken.
    pub(crate) tentative: bool,
    /// Nothing is waited for any longer: what is being replaced will do, while it is good.
    pub(crate) last: bool,
}

impl Query<'_> {
    /// Any account will do.
    pub(crate) const ANY: Query<'static> = Query {
        pin: None,
        sticky: None,
        model: None,
        avoid: None,
        probes: true,
        tentative: false,
        last: false,
    };

    /// Whether whoever serves all models and is next in turn will do.
    pub(crate) const fn is_any(&self) -> bool {
        self.pin.is_none() && self.sticky.is_none() && self.avoid.is_none()
    }

    /// Whether this request must not visit this generation of an account.
    pub(crate) fn avoids(&self, account: &PooledAccount, generation: u64) -> bool {
        self.avoid.is_some_and(|avoid| avoid.avoids(account.uid, generation, account.group))
    }

    /// Whether the next credential of an account in such a state is one for this request.
    pub(crate) fn may_have_next_of(
        &self,
        entry: &Entry,
        state: impl Fn(GenerationState) -> bool,
    ) -> bool {
        let current = entry.current.load();
        state(current.state())
            && entry.account.may_serve(self.model)
            && !self.avoids(&entry.account, current.number + 1)
    }
}

/// An account by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin<'a> {
    /// Only this one; that it must rest is ignored.
    Strict(&'a str),
    /// This one while it can serve, else any.
    Prefer(&'a str),
}

/// Whom a request must not visit.
pub(crate) trait Avoid {
    /// Whether to leave out this generation of `account`, which is of `group`.
    fn avoids(&self, account: u32, generation: u64, group: Option<u32>) -> bool;
}

/// Nobody can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable {
    /// The reason.
    pub(crate) code: Code,
    /// After how long somebody may, when that is known.
    pub(crate) retry_after: Option<Duration>,
    /// When the credential ended, of several the last, if that is why, and known.
    pub(crate) expired_at: Option<SystemTime>,
    /// Whether the source of an account that was refused for that may make another credential.
    pub(crate) can_mint: bool,
}

impl From<Code> for Unavailable {
    fn from(code: Code) -> Self {
        Self { code, retry_after: None, expired_at: None, can_mint: false }
    }
}

impl Unavailable {
    /// Whether a source is being asked: who waits for that may be served.
    pub(crate) fn is_under_way(&self) -> bool {
        self.code == Code::NotReady && self.retry_after.is_none()
    }
}

/// What became of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Whether this one put the account into quarantine (and was told to the reporter). The losers
    /// came later, or for an older generation.
    pub(crate) won: bool,
    /// How long nothing uses the credential, from now.
    pub(crate) rest: Duration,
}
