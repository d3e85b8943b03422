//! Tokens from an OAuth 2.0 token endpoint (RFC 6749).

mod client;
mod endpoint;
mod http;
mod refresh;
#[cfg(feature = "service-account")]
mod service_account;
mod store;

#[cfg(test)]
mod tests;

#[cfg(feature = "service-account")]
pub use self::service_account::{ServiceAccount, ServiceAccountError};
pub use self::{
    client::OAuthClient, endpoint::OAuthError, http::OAuthHttp, refresh::OAuthRefresh,
    store::RefreshTokenStore,
};
