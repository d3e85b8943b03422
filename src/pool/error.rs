//! Errors in a pool, or in a change of one.

use std::fmt;

/// The error of building or changing a pool.
///
/// Each message says what to change.
///
/// ```
/// use tower_failover::{pool::{OriginFault, PoolError}, Account, Credential, Pool};
///
/// let alice = || Account::new("alice", Credential::bearer("tok-alice").unwrap());
/// let nowhere = Pool::builder().account(alice()).build();
/// assert_eq!(nowhere.unwrap_err(), PoolError::NoOrigins);
///
/// let path = Pool::builder().account(alice()).origins(["https://api.example.com/v1"]).build();
/// assert!(matches!(path.unwrap_err(), PoolError::Origin { fault: OriginFault::Path, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No account was given.
    #[error(
        "the pool has no account: add one with `.account(..)`, or say `.may_be_empty()` \
         if accounts are inserted later"
    )]
    Empty,
    /// No origin was given.
    #[error(
        "the pool has no origins: name those that its credentials may be sent to \
         with `.origins([\"https://api.example.com\"])`, or say `.any_origin()`"
    )]
    NoOrigins,
    /// Two accounts have the same id.
    #[error("two accounts are called `{id}`: give each an id of its own")]
    DuplicateId {
        /// The id.
        id: Box<str>,
    },
    /// An account's id is empty.
    #[error("an account has an empty id: give it one that its owner knows it by")]
    EmptyId,
    /// A text is not an origin.
    #[error("`{origin}` is no origin: {fault}")]
    Origin {
        /// The value that was given, as far as it may be shown.
        origin: Box<str>,
        /// The fault.
        fault: OriginFault,
    },
    /// The base URI of an account is not usable.
    #[error("the base URI of account `{id}` is not usable: {fault}")]
    BaseUri {
        /// The account.
        id: Box<str>,
        /// The fault.
        fault: OriginFault,
    },
    /// The base URI of an account is outside the pool's origins.
    #[error(
        "account `{id}` lives at `{origin}`, which is none of the pool's origins: add it to `.origins(..)`"
    )]
    BaseOrigin {
        /// The account.
        id: Box<str>,
        /// The origin of its base URI.
        origin: Box<str>,
    },
    /// A fixed header of an account is also the header of a credential.
    #[error(
        "account `{id}` has a fixed header `{header}`, which carries a credential: \
         give it as the account's credential, or leave it out"
    )]
    HeaderCollides {
        /// The account.
        id: Box<str>,
        /// The header.
        header: Box<str>,
    },
    /// A fixed header of an account frames or routes the message.
    #[error(
        "account `{id}` has a fixed header `{header}`, which frames or routes the message: leave it out"
    )]
    HeaderFrames {
        /// The account.
        id: Box<str>,
        /// The header.
        header: Box<str>,
    },
    /// A token fails the check of [`validate`](crate::pool::PoolBuilder::validate).
    #[error("the token of account `{id}` is not what it should be: {fault}")]
    Format {
        /// The account.
        id: Box<str>,
        /// The message of the check.
        fault: &'static str,
    },
    /// No account has this id.
    #[error("no account is called `{id}`: insert it first")]
    UnknownAccount {
        /// The id.
        id: Box<str>,
    },
}

/// The fault of an origin.
///
/// [`PoolError`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginFault {
    /// It is not a URI at all.
    NotAUri,
    /// The scheme or the host is missing.
    NoScheme,
    /// A path or a query stands behind it.
    Path,
    /// A user name stands before the host.
    UserInfo,
}

impl fmt::Display for OriginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUri => "write it as `https://host` or `https://host:port`",
            Self::NoScheme => "write the scheme before the host, as in `https://host`",
            Self::Path => "leave out the path; scheme, host and port are what counts",
            Self::UserInfo => "leave out what stands before the `@`",
        })
    }
}
