//! The trait of a token source.

use std::{future::Future, pin::Pin};

use super::{error::SourceError, token::Token};
use crate::classify::Reason;

/// The future of [`TokenSource::token`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, SourceError>> + Send + 'a>>;

/// The reason for which a [`TokenSource`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshReason {
    /// The account has no token yet.
    First,
    /// The token expires soon, or its [`Token::refresh_in`] has passed.
    Expiring,
    /// The upstream rejected the token: the source must not supply it again from a cache.
    Rejected(Reason),
}

impl RefreshReason {
    /// Returns whether the token was rejected.
    pub const fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// A source of an account's tokens.
///
/// 1. A pool calls the source of an account at most once at a time, and the sources of one
///    [group](crate::Account::group) one after the other: put accounts that share a source into one
///    group. The call runs in a task of its own, so dropping a request does not cancel it.
/// 2. All waiting requests share the result, also a failure. After a failure the source is not called
///    for a short time, which grows with each failure, whatever the upstream answers meanwhile.
/// 3. A source that panics has failed. If a source does not answer in time, the waiting requests see a
///    failure, and the source is not called again meanwhile. Its late answer still
///    [counts](crate::pool::PoolBuilder::refresh_deadline).
///
/// A function is a source:
///
/// ```
/// use tower_failover::{credential::{SourceError, Token, RefreshReason}, Account};
///
/// let account = Account::from_source("alice", |_reason: RefreshReason| async {
///     // Ask a vault, run a program, read a database.
///     Ok::<_, SourceError>(Token::new("s3cr3t"))
/// });
/// # drop(account);
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// Returns a token.
    ///
    /// # Errors
    ///
    /// [Terminal](SourceError::terminal) if only a person can help, otherwise
    /// [transient](SourceError::transient).
    fn token(&self, reason: RefreshReason) -> TokenFuture<'_>;

    /// Returns whether the source can supply a better token after a rejection for `reason`.
    ///
    /// By default it can after an expired or invalid token. A revoked token was withdrawn on purpose,
    /// and a new token solves neither a lack of scope nor a disabled account. A source that reads
    /// tokens which another program writes returns `true` for every reason.
    fn can_renew_after(&self, reason: Reason) -> bool {
        matches!(reason, Reason::Expired | Reason::Invalid | Reason::Missing)
    }
}

impl<F, Fut> TokenSource for F
where
    F: Fn(RefreshReason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Token, SourceError>> + Send + 'static,
{
    fn token(&self, reason: RefreshReason) -> TokenFuture<'_> {
        Box::pin(self(reason))
    }
}
