//! The requirements of a request, and the answer when no account can serve.

use std::time::{Duration, SystemTime};

use crate::{
    classify::Code,
    pool::account::{Entry, GenerationState, PooledAccount},
};

/// The requirements of a request.
#[derive(Clone, Copy)]
pub(crate) struct Query<'a> {
    /// The one account that may serve, or that should.
    pub(crate) pin: Option<Pin<'a>>,
    /// Requests with the same key go to the same account while it can serve.
    pub(crate) sticky: Option<&'a [u8]>,
    /// The model, when it is known.
    pub(crate) model: Option<&'a str>,
    /// The accounts that this request must not use (again).
    pub(crate) avoid: Option<&'a dyn Avoid>,
    /// Whether the request may be the probe of a quarantined account.
    pub(crate) probes: bool,
    /// The model was not read yet: an account with a cooling model is shown, and not changed.
    pub(crate) tentative: bool,
    /// The request waits no longer: a credential that is being replaced will do while it is valid.
    pub(crate) last: bool,
}

impl Query<'_> {
    /// A query that any account can serve.
    pub(crate) const ANY: Query<'static> = Query {
        pin: None,
        sticky: None,
        model: None,
        avoid: None,
        probes: true,
        tentative: false,
        last: false,
    };

    /// Returns whether the next account in turn will do, if it serves all models.
    pub(crate) const fn is_any(&self) -> bool {
        self.pin.is_none() && self.sticky.is_none() && self.avoid.is_none()
    }

    /// Returns whether this request must not use this generation of an account.
    pub(crate) fn avoids(&self, account: &PooledAccount, generation: u64) -> bool {
        self.avoid.is_some_and(|avoid| avoid.avoids(account.uid, generation, account.group))
    }

    /// Returns whether the request may use the next credential of an account in such a state.
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
    /// Only this account; its cooldown is ignored.
    Strict(&'a str),
    /// This account while it can serve, else any.
    Prefer(&'a str),
}

/// The accounts that a request must not use.
pub(crate) trait Avoid {
    /// Returns whether to exclude this generation of `account`, which is in `group`.
    fn avoids(&self, account: u32, generation: u64, group: Option<u32>) -> bool;
}

/// The answer when no account can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable {
    /// The reason.
    pub(crate) code: Code,
    /// The time until an account may serve, if that is known.
    pub(crate) retry_after: Option<Duration>,
    /// When the credential expired (the last of several), if that is the reason, and known.
    pub(crate) expired_at: Option<SystemTime>,
    /// Whether the source of an account that was rejected for it may give another credential.
    pub(crate) can_mint: bool,
}

impl From<Code> for Unavailable {
    fn from(code: Code) -> Self {
        Self { code, retry_after: None, expired_at: None, can_mint: false }
    }
}

impl Unavailable {
    /// Returns whether a source is being called, so that waiting may help.
    pub(crate) fn is_under_way(&self) -> bool {
        self.code == Code::NotReady && self.retry_after.is_none()
    }
}
