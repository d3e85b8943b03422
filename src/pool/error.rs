//! What is wrong with a pool, or with a change of one.

use std::fmt;

/// Why a pool cannot be built, or changed.
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
    /// Nothing was said about where credentials may go.
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
    /// Something is no origin.
    #[error("`{origin}` is no origin: {fault}")]
    Origin {
        /// What was given, as far as it may be shown.
        origin: Box<str>,
        /// What is wrong with it.
        fault: OriginFault,
    },
    /// An account's base URI is not one.
    #[error("the base URI of account `{id}` is not usable: {fault}")]
    BaseUri {
        /// The account.
        id: Box<str>,
        /// What is wrong with it.
        fault: OriginFault,
    },
    /// An account lives where the pool's credentials may not go.
    #[error(
        "account `{id}` lives at `{origin}`, which is none of the pool's origins: add it to `.origins(..)`"
    )]
    BaseOrigin {
        /// The account.
        id: Box<str>,
        /// Where it lives.
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
    /// A token has not the form that [`validate`](crate::pool::PoolBuilder::validate) wants.
    #[error("the token of account `{id}` is not what it should be: {fault}")]
    Format {
        /// The account.
        id: Box<str>,
        /// What is wrong with it, in the words of whoever looked.
        fault: &'static str,
    },
    /// No account has this id.
    #[error("no account is called `{id}`: insert it first")]
    UnknownAccount {
        /// The id.
        id: Box<str>,
    },
}

/// What is wrong with an origin.
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
