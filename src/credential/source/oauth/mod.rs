//! Tokens from an OAuth 2.0 token endpoint (RFC 6749).

pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod http;
pub(crate) mod refresh;
#[cfg(feature = "service-account")]
pub(crate) mod service_account;
pub(crate) mod store;

#[cfg(test)]
mod tests;
