//! The store of rotated refresh tokens.

use std::{error::Error, future::Future, pin::Pin};

/// A store of rotated refresh tokens.
///
/// Many endpoints issue a new refresh token with each token, and stop accepting the old one (RFC 6749
/// §6). If the new one is lost, a person must log in again. So it is stored before the new token is
/// used. If that fails, it is tried again, and until it succeeds the new token is not used and no
/// other is requested.
///
/// A function of the refresh token is a store; see
/// [`OAuthRefresh::store`](crate::credential::OAuthRefresh::store).
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// Stores the refresh token durably.
    fn store(&self, refresh_token: &str) -> StoreFuture<'_>;
}

/// The future of [`RefreshTokenStore::store`].
type StoreFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'a>>;

impl<F, Fut> RefreshTokenStore for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    fn store(&self, refresh_token: &str) -> StoreFuture<'_> {
        Box::pin(self(refresh_token.to_owned()))
    }
}
