//! Sources of tokens.
//!
//! | source | after a rejection, the token | feature |
//! | --- | --- | --- |
//! | [`FixedToken`] | stays rejected | |
//! | [`EnvToken`] | is read again, and stays rejected if it is the same | |
//! | [`FileToken`] | is read again; a changed file is noticed without a rejection | |
//! | a closure, or a [`TokenSource`] of your own | is requested again | |
//! | [`OAuthRefresh`] (RFC 6749 §6) | is requested again; a rotated refresh token is stored first | `oauth` |
//! | [`OAuthClient`] (RFC 6749 §4.4) | is requested again | `oauth` |
//! | [`ServiceAccount`] (RFC 7523) | is requested again | `service-account` |

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
