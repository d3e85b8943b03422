//! The JWT bearer grant of a Google-style service account.

use std::{fmt, sync::Arc, time::UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{
    endpoint::{Endpoint, can_renew_after_rejection},
    http::OAuthHttp,
};
use crate::{
    classify::Reason,
    clock,
    credential::source::{RefreshReason, SourceError, TokenFuture, TokenSource},
};

/// The lifetime of an assertion: the longest that Google accepts.
const LIFETIME_SECONDS: u64 = 60 * 60;
/// The assertion is dated back by this, in case the other clock is slow.
const CLOCK_SKEW_SECONDS: u64 = 10;

/// Tokens for a service account, for an assertion signed with its key: the JWT bearer grant
/// (RFC 7523 §2.1; [Google](https://developers.google.com/identity/protocols/oauth2/service-account#httprest)).
///
/// The assertion is signed with RS256 (RFC 7518 §3.3).
///
/// It is used like an [`OAuthClient`](crate::credential::OAuthClient).
pub struct ServiceAccount {
    endpoint: Endpoint,
    key: Arc<RsaKeyPair>,
    key_id: Option<String>,
    issuer: String,
    audience: String,
    subject: Option<String>,
    scope: String,
}

/// The error of a key file that is not that of a [`ServiceAccount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAccountError {
    /// The file is not a JSON object.
    #[error(
        "the service account's key is not a JSON object: give the whole file as it was downloaded"
    )]
    NotJson,
    /// A member is missing, or is not a string.
    #[error("the service account's key has no `{0}`: give the whole file as it was downloaded")]
    Missing(&'static str),
    /// The private key cannot be used.
    #[error("the service account's `private_key` is not an RSA key in PKCS #8 form")]
    Key,
    /// The token endpoint is not a URI with a host.
    #[error("the service account's `token_uri` is not a URI with a host")]
    TokenUri,
}

impl ServiceAccount {
    /// Builds a source from the key file of a service account: `client_email`, `private_key`,
    /// `token_uri`, and `private_key_id` if it is present.
    ///
    /// # Errors
    ///
    /// See the variants of [`ServiceAccountError`]. No message shows the content of the file.
    pub fn from_json(key: impl AsRef<[u8]>, http: OAuthHttp) -> Result<Self, ServiceAccountError> {
        let mut file: Map<String, Value> =
            serde_json::from_slice(key.as_ref()).map_err(|_| ServiceAccountError::NotJson)?;
        let mut text = |name| match file.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(ServiceAccountError::Missing(name)),
        };
        let pem = Zeroizing::new(text("private_key")?);
        let issuer = text("client_email")?;
        let audience = text("token_uri")?;
        let key_id = text("private_key_id").ok();
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let key = der.ok().and_then(|der| RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok());
        let key = Arc::new(key.ok_or(ServiceAccountError::Key)?);
        let endpoint =
            Endpoint::new(&*audience, http).map_err(|_| ServiceAccountError::TokenUri)?;
        let (subject, scope) = (None, String::new());
        Ok(Self { endpoint, key, key_id, issuer, audience, subject, scope })
    }

    /// Sets the scopes of the tokens, separated by spaces.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets the user on whose behalf the account acts (`sub`).
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Returns a signed assertion of the time `now` (seconds since 1970).
    fn assertion(&self, now: u64) -> Option<Zeroizing<String>> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        let issued = now.saturating_sub(CLOCK_SKEW_SECONDS);
        let mut claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "iat": issued,
            "exp": issued + LIFETIME_SECONDS,
        });
        if !self.scope.is_empty() {
            claims["scope"] = json!(self.scope);
        }
        if let Some(subject) = &self.subject {
            claims["sub"] = json!(subject);
        }
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
        Some(Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl TokenSource for ServiceAccount {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(async {
            let now = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let assertion = self
                .assertion(now)
                .ok_or_else(|| SourceError::transient("the assertion could not be signed"))?;
            let grant = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", assertion.as_str()),
            ];
            Ok(self.endpoint.request_token(&grant).await?.token)
        })
    }

    fn can_renew_after(&self, reason: Reason) -> bool {
        can_renew_after_rejection(reason)
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("issuer", &self.issuer)
            .field("scope", &self.scope)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
