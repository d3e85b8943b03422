//! What a source is.

use std::{future::Future, pin::Pin};

use super::{error::SourceError, token::Token};
use crate::classify::Reason;

/// What a source is asked for a token gives.
///
/// [`TokenSource`] has an example.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Token, SourceError>> + Send + 'a>>;

/// Why a source is asked.
///
/// [`TokenSource`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshReason {
    /// There is no token yet.
    First,
    /// The token there is ends soon, or the source wanted to be asked again.
    Expiring,
    /// The upstream refused the token there is: what is kept somewhere must not be given again.
    Rejected(Reason),
}

impl RefreshReason {
    /// Whether the token there is was refused.
    pub const fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// Where an account's tokens come from.
///
/// 1. A pool asks the source of an account at most once at a time, and those of one
///    [group](crate::Account::group) one after the other: accounts that share a source
///    belong into one. It asks in a task of its own: whoever started that may be dropped.
/// 2. The answer is for all who wait, a failure as well. It is not asked again for a short, growing
///    time after a failure, whatever the upstream says meanwhile.
/// 3. One that panics has failed. One that does not answer in time has failed for those who wait, and
///    is asked nothing else meanwhile: its late answer still
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
    /// A token.
    ///
    /// # Errors
    ///
    /// [Terminal](SourceError::terminal) when only a person can help, else
    /// [transient](SourceError::transient).
    fn token(&self, reason: RefreshReason) -> TokenFuture<'_>;

    /// Whether another token may come of asking again after `reason`.
    ///
    /// By default after one that has expired or is not accepted; a revoked one has been taken back
    /// on purpose, and neither a lack of scope nor a disabled account goes away with a new token.
    /// Where others write the tokens that the source reads, after any.
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
