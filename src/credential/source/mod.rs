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

pub(crate) mod env;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod fixed;
#[cfg(feature = "oauth")]
pub(crate) mod oauth;
pub(crate) mod token;
pub(crate) mod token_source;

pub(crate) use self::token_source::TokenSource;
#[cfg(feature = "oauth")]
pub(crate) use self::{
    error::SourceError,
    token::Token,
    token_source::{RefreshReason, TokenFuture},
};
