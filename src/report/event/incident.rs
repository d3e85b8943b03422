//! What happens to accounts and pools.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use crate::classify::Reason;

/// An account that people can find again in their configuration.
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountTag {
    /// The account's id.
    pub id: Arc<str>,
    /// Its place in the pool, from 1.
    pub ordinal: usize,
    /// How many accounts the pool has.
    pub of: usize,
}

/// Why an account is out.
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutReason {
    /// Its credential was refused.
    Refused(Reason),
    /// Its quota is used up.
    OutOfQuota,
    /// Its credential has ended by the clock here, and no source replaces it.
    Expired,
    /// Its source gives no other credential until a person acts.
    RefreshFailed(Reason),
}

/// An account's incident.
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountOut {
    /// Which account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// The reason.
    pub reason: OutReason,
    /// The status that said so, when it was a response.
    pub status: Option<StatusCode>,
    /// Until when nothing uses it, from now; [`Duration::MAX`] is until a person acts.
    pub rest: Duration,
    /// When the credential ended, if that is why, and known.
    pub expired_at: Option<SystemTime>,
    /// How long ago that was.
    pub expired_ago: Option<Duration>,
    /// What the source said, if it is out because of that: shortened, escaped, without secrets.
    pub why: Option<Box<str>>,
}

/// The pool's incident.
///
/// [`Event`](crate::Event) has an example.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolDead {
    /// How many accounts the pool has, all of them out.
    pub accounts: usize,
    /// The refusal that was the last straw.
    pub cause: AccountOut,
    /// The pool's help text: what its owner must do.
    pub help: Option<Arc<str>>,
}

impl AccountTag {
    /// The account `id`, which is number `ordinal` (from 1) of `of`.
    pub fn new(id: impl Into<Arc<str>>, ordinal: usize, of: usize) -> Self {
        Self { id: id.into(), ordinal, of }
    }
}

impl OutReason {
    /// Whether the credential has ended, by whoever says so.
    pub(crate) const fn is_expiry(self) -> bool {
        matches!(self, Self::Expired | Self::Refused(Reason::Expired))
    }

    /// A stable word for logs and metrics: of the credential's fault, or `out_of_quota`.
    ///
    /// A credential that is not accepted is `invalid_token`, the word of RFC 6750 §3.1.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(Reason::Invalid) => "invalid_token",
            Self::Refused(reason) => reason.as_str(),
            Self::OutOfQuota => "out_of_quota",
            Self::Expired => "expired",
            Self::RefreshFailed(_) => "refresh_failed",
        }
    }
}

impl AccountOut {
    /// The credential of `generation` is out for `reason`, and nothing uses it for `rest`.
    ///
    /// `status` is the response's, and `None` when the refusal came in an error.
    pub const fn new(
        account: AccountTag,
        generation: u64,
        reason: OutReason,
        status: Option<StatusCode>,
        rest: Duration,
    ) -> Self {
        let (expired_at, expired_ago, why) = (None, None, None);
        Self { account, generation, reason, status, rest, expired_at, expired_ago, why }
    }
}

impl PoolDead {
    /// All `accounts` of the pool are out, the last one by `cause`; `help` says what its owner must do.
    pub const fn new(accounts: usize, cause: AccountOut, help: Option<Arc<str>>) -> Self {
        Self { accounts, cause, help }
    }
}
