//! Who is asking: accounts, secrets, and the pool with its states.
//!
//! 1. A [`Credential`] is checked and made ready once; it is never printed, and wiped with its last
//!    handle.
//! 2. An [`Account`] is a credential and all that goes with it: fixed headers, a base URI, a priority,
//!    a weight, a group, the models it may serve. All of it is put on a request as one.
//! 3. A [`Pool`] knows what may be done with each account now, chooses one for each attempt, and
//!    learns from what became of it. Its page has the [states](Pool#states) and the rules.
//! 4. A credential is given by hand, or comes from a [`TokenSource`], which is asked when it is first
//!    needed, before it ends ([`Expires`], [`RefreshWindows`]) and after a refusal: once at a time, for
//!    all who wait.
//! 5. A job belongs to the account that made it: with the feature `job-ids`, `JobIds` makes job ids that
//!    know theirs.
//! 6. Accounts come, go and change at run time; [`Pool::view`] shows them on a status page.

mod account;
mod check;
mod expiry;
#[cfg(feature = "job-ids")]
mod job;
mod pool;
mod secret;
mod source;

#[cfg(feature = "job-ids")]
pub use self::job::{Job, JobIdError, JobIds, UpstreamIdError};
pub(crate) use self::pool::{Admitted, Avoid, News, Paused, Picked, Pin, Unavailable, Want};
#[doc(hidden)]
pub use self::pool::{InFlight, choose};
#[cfg(feature = "oauth")]
pub use self::source::{OAuthClient, OAuthError, OAuthHttp, OAuthRefresh, RefreshTokenStore};
#[cfg(feature = "service-account")]
pub use self::source::{ServiceAccount, ServiceAccountError};
pub use self::{
    account::Account,
    check::CredentialError,
    expiry::{DailyTime, DailyTimeError, Expires, RefreshWindows, jwt_expiry},
    pool::{
        AccountView, Cascade, Choose, Counts, ModelRest, NotReady, Order, OriginFault,
        OwnCredential, Pool, PoolBuilder, PoolChanges, PoolError, PoolView, Quarantine, State,
    },
    secret::Credential,
    source::{EnvToken, FileToken, FixedToken, SourceError, Token, TokenFuture, TokenSource, Why},
};
