//! Where tokens come from.
//!
//! | source | a refused token | feature |
//! | --- | --- | --- |
//! | [`FixedToken`] | stays refused | |
//! | [`EnvToken`] | is read anew, and stays refused if it is the same | |
//! | [`FileToken`] | is read anew; a file that changes is noticed without a refusal | |
//! | a closure, or a [`TokenSource`] of your own | is made anew | |
//! | [`OAuthRefresh`] (RFC 6749 §6) | is made anew; a rotated refresh token is kept first | `oauth` |
//! | [`OAuthClient`] (RFC 6749 §4.4) | is made anew | `oauth` |
//! | [`ServiceAccount`] (RFC 7523) | is made anew | `service-account` |

mod env;
mod error;
mod file;
mod fixed;
#[cfg(feature = "oauth")]
mod oauth;
mod token;
mod token_source;

#[cfg(feature = "oauth")]
pub use self::oauth::{OAuthClient, OAuthError, OAuthHttp, OAuthRefresh, RefreshTokenStore};
#[cfg(feature = "service-account")]
pub use self::oauth::{ServiceAccount, ServiceAccountError};
pub use self::{
    env::EnvToken,
    error::SourceError,
    file::FileToken,
    fixed::FixedToken,
    token::Token,
    token_source::{TokenFuture, TokenSource, Why},
};
