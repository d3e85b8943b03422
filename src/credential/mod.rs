//! Who is asking: accounts, secrets, and the pool with its states.
//!
//! 1. A [`Credential`] is checked and made ready once; it is never printed, and wiped with its last
//!    handle.
//! 2. An [`Account`] is a credential and all that goes with it: fixed headers, a base URI, a priority,
//!    a weight, a group, the models it may serve. All of it is put on a request as one.
//! 3. A [`Pool`](crate::Pool) knows what may be done with each account now, chooses one for each attempt, and
//!    learns from what became of it. Its page has the [states](crate::Pool#states) and the rules.
//! 4. A credential is given by hand, or comes from a [`TokenSource`], which is asked when it is first
//!    needed, before it ends ([`Expires`], [`RefreshWindows`]) and after a refusal: once at a time, for
//!    all who wait.
//! 5. A job belongs to the account that made it: with the feature `job-ids`, `JobIds` makes job ids that
//!    know theirs.
//! 6. Accounts come, go and change at run time; [`Pool::view`](crate::Pool::view) shows them on a status page.

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
