//! What a request wants of the pool, and what it hears when nobody can serve.

use std::time::Duration;

use crate::classify::Code;

/// What a request wants of the pool.
#[derive(Clone, Copy)]
pub(crate) struct Want<'a> {
    /// The one account that may serve, or that should.
    pub(crate) pin: Option<Pin<'a>>,
    /// Requests with the same key go to the same account while it can serve.
    pub(crate) sticky: Option<&'a [u8]>,
    /// The model, when it is known.
    pub(crate) model: Option<&'a str>,
    /// Whom this request must not visit (again).
    pub(crate) avoid: &'a dyn Avoid,
    /// Whether the request may be the probe of a quarantined account.
    pub(crate) probes: bool,
}

impl Want<'_> {
    /// Whether it matters to the request which of those that can serve it gets.
    pub(crate) const fn is_tied(&self) -> bool {
        self.pin.is_some() || self.sticky.is_some()
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

/// Leaves nobody out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nobody;

impl Avoid for Nobody {
    fn avoids(&self, _: u32, _: u64, _: Option<u32>) -> bool {
        false
    }
}

/// Nobody can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable {
    /// Why.
    pub(crate) code: Code,
    /// After how long somebody may, when that is known.
    pub(crate) retry_after: Option<Duration>,
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
