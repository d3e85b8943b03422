//! The client credentials grant.

use ::http::Uri;
use zeroize::Zeroizing;

use super::{
    endpoint::{Client, Endpoint, OAuthError, can_renew_after_rejection, request_settings},
    http::OAuthHttp,
};
use crate::{
    classify::Reason,
    credential::source::{RefreshReason, TokenFuture, TokenSource},
};

/// Tokens for a client's own account, from the client credentials grant (RFC 6749 §4.4).
///
/// ```
/// # use http_body_util::Full;
/// # let service = tower::service_fn(|_: http::Request<Full<bytes::Bytes>>| async {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
/// # });
/// use tower_failover::{credential::{OAuthClient, OAuthHttp}, Account};
///
/// let http = OAuthHttp::new(service); // any tower HTTP service, such as a hyper-util client
/// let source = OAuthClient::new("https://auth.example.com/token", "client-id", "s3cr3t", http)?
///     .scope("videos.write");
/// let account = Account::from_source("renderer", source);
/// # drop(account);
/// # Ok::<(), tower_failover::credential::OAuthError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OAuthClient {
    endpoint: Endpoint,
}

impl OAuthClient {
    /// Builds a source for the client `id` at the token endpoint `uri`.
    ///
    /// # Errors
    ///
    /// The URI has no scheme or authority.
    pub fn new<U: TryInto<Uri>>(
        uri: U,
        id: impl Into<String>,
        secret: impl Into<String>,
        http: OAuthHttp,
    ) -> Result<Self, OAuthError> {
        let mut endpoint = Endpoint::new(uri, http)?;
        let secret = Some(Zeroizing::new(secret.into()));
        endpoint.client = Some(Client { secret, ..Client::new(id) });
        Ok(Self { endpoint })
    }

    request_settings!();
}

impl TokenSource for OAuthClient {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(async {
            let response =
                self.endpoint.request_token(&[("grant_type", "client_credentials")]).await?;
            Ok(response.token)
        })
    }

    fn can_renew_after(&self, reason: Reason) -> bool {
        can_renew_after_rejection(reason)
    }
}
