//! Who keeps a rotated refresh token.

use std::{error::Error, future::Future, pin::Pin};

/// Who keeps a refresh token that takes the place of another.
///
/// Many endpoints give a new refresh token along with each token, and take the old one no more
/// (RFC 6749 §6); one that is lost means that a person must log in again. It is therefore handed
/// over before the new token is used, and handed over again until that succeeds: meanwhile the new
/// token is not used, and no other is asked for.
///
/// A function is a store: it is given the refresh token.
///
/// [`OAuthRefresh`](crate::credential::OAuthRefresh) has an example.
pub trait RefreshTokenStore: Send + Sync + 'static {
    /// Keeps the refresh token.
    fn store(&self, refresh_token: &str) -> StoreFuture<'_>;
}

/// What a store gives.
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
