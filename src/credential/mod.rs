//! Accounts, their credentials, and the sources of new tokens.
//!
//! 1. A [`Credential`] is checked and encoded once. It is never printed, and it is wiped when its last
//!    clone is dropped.
//! 2. An [`Account`] is a credential with its fixed headers, base URI, priority, weight, group and
//!    models. They are put on a request together.
//! 3. A [`Pool`](crate::Pool) keeps the [state](crate::Pool#states) of each account and selects one for
//!    each attempt.
//! 4. A [`TokenSource`] supplies new tokens. The pool calls it on first use, shortly before expiry
//!    ([`Expires`], [`RefreshWindows`]) and after a rejection. Concurrent requests share one call.
//!
//! ```
//! use std::time::Duration;
//! use tower_failover::{
//!     Account, Credential,
//!     credential::{EnvToken, RefreshReason, RefreshWindows, SourceError, Token},
//! };
//!
//! // A key that never changes, and one that is read again when it is rejected.
//! let alice = Account::new("alice", Credential::bearer("s3cr3t")?);
//! let bob = Account::from_source("bob", EnvToken::new("BOB_KEY"));
//!
//! // A token from a function of your own, which may fail for a while.
//! let carol = Account::from_source("carol", |reason: RefreshReason| async move {
//!     if reason.is_rejected() {
//!         return Err(SourceError::transient("the vault is sealed"));
//!     }
//!     Ok(Token::new("s3cr3t").expires_in(Duration::from_secs(3600)))
//! })
//! .refresh_windows(RefreshWindows::fixed(Duration::from_secs(300), Duration::from_secs(60)));
//! # drop((alice, bob, carol));
//! # Ok::<(), tower_failover::credential::CredentialError>(())
//! ```

pub(crate) mod account;
pub(crate) mod check;
pub(crate) mod credential;
pub(crate) mod expiry;
pub(crate) mod source;

#[cfg(feature = "service-account")]
pub use self::source::oauth::service_account::{ServiceAccount, ServiceAccountError};
#[cfg(feature = "oauth")]
pub use self::source::oauth::{
    client::OAuthClient, endpoint::OAuthError, http::OAuthHttp, refresh::OAuthRefresh,
    store::RefreshTokenStore,
};
pub use self::{
    account::Account,
    check::CredentialError,
    credential::Credential,
    expiry::{
        daily::{DailyTime, DailyTimeError},
        expires::Expires,
        jwt::jwt_expiry,
        windows::RefreshWindows,
    },
    source::{
        env::EnvToken,
        error::SourceError,
        file::FileToken,
        fixed::FixedToken,
        token::Token,
        token_source::{RefreshReason, TokenFuture, TokenSource},
    },
};
pub(crate) use self::{account::SourceSettings, check::FRAMING, credential::Placement};
