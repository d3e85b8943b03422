//! The refresh token grant.

use std::{fmt, sync::Arc, time::Duration};

use ::http::Uri;
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

use super::{
    endpoint::{Client, Endpoint, OAuthError, request_settings},
    http::OAuthHttp,
    store::RefreshTokenStore,
};
use crate::credential::{
    expiry::Expires,
    source::{RefreshReason, SourceError, Token, TokenFuture, TokenSource},
};

/// Tokens for a person who has logged in once, from the refresh token grant (RFC 6749 §6).
///
/// 1. A rotated refresh token is given to the [store](RefreshTokenStore) before the token that came
///    with it is used. If the store fails, that is a transient failure, and the next call starts with
///    the store, so no refresh token is used twice.
/// 2. `invalid_grant` and similar errors are terminal: the person must log in again. An endpoint that
///    is down or overloaded is a transient failure.
/// 3. Give all accounts that share one OAuth client or one login the same
///    [group](crate::Account::group), so that they are refreshed one after the other.
///
/// ```
/// # use http_body_util::Full;
/// # let service = tower::service_fn(|_: http::Request<Full<bytes::Bytes>>| async {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
/// # });
/// use tower_failover::{credential::{OAuthHttp, OAuthRefresh}, Account};
///
/// let http = OAuthHttp::new(service); // any tower HTTP service, such as a hyper-util client
/// let source = OAuthRefresh::new("https://auth.example.com/token", "refr3sh", http)?
///     .client("client-id", Some("s3cr3t"))
///     .store(|refresh_token: String| async move {
///         // Write it where the next start of this program finds it.
///         # drop(refresh_token);
///         Ok(())
///     });
/// let account = Account::from_source("alice", source).group("client-id");
/// # drop(account);
/// # Ok::<(), tower_failover::credential::OAuthError>(())
/// ```
pub struct OAuthRefresh {
    endpoint: Endpoint,
    store: Option<Arc<dyn RefreshTokenStore>>,
    state: Mutex<State>,
}

struct State {
    refresh_token: Zeroizing<String>,
    /// The token that came with a refresh token which is not stored yet, and the time it arrived.
    unstored: Option<(Token, Instant)>,
}

impl OAuthRefresh {
    /// Builds a source for this refresh token at the token endpoint `uri`.
    ///
    /// # Errors
    ///
    /// The URI has no scheme or authority.
    pub fn new<U: TryInto<Uri>>(
        uri: U,
        refresh_token: impl Into<String>,
        http: OAuthHttp,
    ) -> Result<Self, OAuthError> {
        let refresh_token = Zeroizing::new(refresh_token.into());
        Ok(Self {
            endpoint: Endpoint::new(uri, http)?,
            store: None,
            state: Mutex::new(State { refresh_token, unstored: None }),
        })
    }

    /// Sets the client that the refresh token was issued to, and its secret if it has one.
    #[must_use]
    pub fn client(mut self, id: impl Into<String>, secret: Option<&str>) -> Self {
        let secret = secret.map(|secret| Zeroizing::new(secret.to_owned()));
        self.endpoint.client = Some(Client { secret, ..Client::new(id) });
        self
    }

    request_settings!();

    /// Sets the store of rotated refresh tokens. Without a store, they are lost when the program ends.
    #[must_use]
    pub fn store(mut self, store: impl RefreshTokenStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    async fn refresh(&self) -> Result<Token, SourceError> {
        let mut state = self.state.lock().await;
        if state.unstored.is_none() {
            let used =
                [("grant_type", "refresh_token"), ("refresh_token", state.refresh_token.as_str())];
            let response = self.endpoint.request_token(&used).await?;
            let rotated = response.refresh.filter(|refresh| *refresh != state.refresh_token);
            let Some(rotated) = rotated else { return Ok(response.token) };
            // No await before both are in the state, so that a dropped call loses neither.
            state.refresh_token = rotated;
            if self.store.is_none() {
                return Ok(response.token);
            }
            state.unstored = Some((response.token, Instant::now()));
        }
        if let Some(store) = &self.store {
            store.store(&state.refresh_token).await.map_err(|error| {
                SourceError::transient("the rotated refresh token was not stored")
                    .with_source(error)
            })?;
        }
        let Some((token, since)) = state.unstored.take() else {
            return Err(SourceError::transient("the token was lost"));
        };
        Ok(shorten(token, since.elapsed()))
    }
}

/// Returns a token that arrived a while ago, with its lifetime shortened.
fn shorten(token: Token, by: Duration) -> Token {
    match token.expires {
        // At least 1 ms, since zero means unknown.
        Expires::In(left) => {
            let left = left.saturating_sub(by).max(Duration::from_millis(1));
            token.expires_in(left)
        }
        _ => token,
    }
}

impl TokenSource for OAuthRefresh {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(self.refresh())
    }
}

impl fmt::Debug for OAuthRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthRefresh")
            .field("endpoint", &self.endpoint)
            .field("store", &self.store.is_some())
            .finish_non_exhaustive()
    }
}
