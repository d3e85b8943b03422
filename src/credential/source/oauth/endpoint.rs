//! A request to a token endpoint, and its response.

use std::{fmt, time::Duration};

use ::http::{
    HeaderValue, Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::http::OAuthHttp;
use crate::{
    classify::{
        Reason,
        answer::{TokenAnswer, token_answer},
    },
    clock,
    credential::source::{SourceError, Token},
};

/// The error of a URI that cannot be a token endpoint, from
/// [`OAuthClient::new`](crate::credential::OAuthClient::new) and its like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write the token endpoint as `https://host/path`, without a fragment (RFC 6749 §3.2)")]
#[non_exhaustive]
pub struct OAuthError;

/// A token endpoint, with the client that sends requests to it.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) http: OAuthHttp,
    pub(super) uri: Uri,
    pub(super) client: Option<Client>,
    /// Further parameters of each request, such as `scope`.
    pub(super) params: Vec<(String, String)>,
}

/// The client's id, and its authentication (RFC 6749 §2.3.1).
#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: Option<Zeroizing<String>>,
    pub(super) in_body: bool,
}

/// Returns whether a client that acts for itself gets another token after a rejection for `reason`. A
/// revoked token says nothing about the client or its key.
pub(super) const fn can_renew_after_rejection(reason: Reason) -> bool {
    !matches!(reason, Reason::Inactive | Reason::InsufficientScope)
}

/// Writes the setters of the request parameters, over a field `endpoint`.
macro_rules! request_settings {
    () => {
        /// Sets the scope of the tokens (RFC 6749 §3.3). A refresh cannot extend it (§6).
        #[must_use]
        pub fn scope(self, scope: impl Into<String>) -> Self {
            self.param("scope", scope)
        }

        /// Adds a parameter to each request, such as `audience`.
        #[must_use]
        pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.endpoint.params.push((name.into(), value.into()));
            self
        }

        /// Sends the client's secret in the body, for endpoints that accept it only there (RFC 6749
        /// §2.3.1). By default it goes into `Authorization`.
        #[must_use]
        pub fn secret_in_body(mut self) -> Self {
            if let Some(client) = &mut self.endpoint.client {
                client.in_body = true;
            }
            self
        }
    };
}
pub(super) use request_settings;

/// A successful response of the endpoint.
pub(super) struct TokenResponse {
    pub(super) token: Token,
    /// The refresh token that replaces the one that was used.
    pub(super) refresh: Option<Zeroizing<String>>,
}

impl Endpoint {
    pub(super) fn new<U: TryInto<Uri>>(uri: U, http: OAuthHttp) -> Result<Self, OAuthError> {
        let uri: Uri = uri.try_into().map_err(|_| OAuthError)?;
        if uri.scheme().is_none() || uri.authority().is_none() {
            return Err(OAuthError);
        }
        Ok(Self { http, uri, client: None, params: Vec::new() })
    }

    /// Requests a token with this grant.
    pub(super) async fn request_token(
        &self,
        grant: &[(&str, &str)],
    ) -> Result<TokenResponse, SourceError> {
        let request = self.request(grant)?;
        let (head, body) = self.http.send(request).await.map_err(|error| {
            SourceError::transient("the token endpoint was not reached").with_source(error)
        })?;
        match token_answer::token_answer(&head, &body, clock::wall()) {
            TokenAnswer::Made(members) => Ok(read_response(members)),
            TokenAnswer::Terminal(error, reason) => Err(SourceError::terminal(
                reason,
                format!("the token endpoint says {error} ({})", head.status.as_u16()),
            )),
            TokenAnswer::Transient(delay) => Err(SourceError::transient(format!(
                "the token endpoint gave no token ({})",
                head.status.as_u16()
            ))
            .with_retry_after(delay)),
        }
    }

    fn request(&self, grant: &[(&str, &str)]) -> Result<Request<Bytes>, SourceError> {
        let mut form = Form::default();
        for (name, value) in grant {
            form.add(name, value);
        }
        for (name, value) in &self.params {
            form.add(name, value);
        }
        let mut authorization = None;
        if let Some(client) = &self.client {
            match &client.secret {
                Some(secret) if !client.in_body => authorization = basic(&client.id, secret),
                secret => {
                    form.add("client_id", &client.id);
                    if let Some(secret) = secret {
                        form.add("client_secret", secret);
                    }
                }
            }
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Bytes::from_owner(form.0)).map_err(|error| {
            SourceError::transient("the request to the token endpoint cannot be built")
                .with_source(error)
        })
    }
}

fn read_response(mut members: Map<String, Value>) -> TokenResponse {
    let mut text = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => Some(Zeroizing::new(text)),
        _ => None,
    };
    let (mut access, refresh) = (text("access_token").unwrap_or_default(), text("refresh_token"));
    // Some endpoints write the number as text, others as a float.
    let expires_in = members.get("expires_in").and_then(|value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let mut token = Token::new(std::mem::take(&mut *access));
    if let Some(left) = expires_in.and_then(|left| Duration::try_from_secs_f64(left).ok()) {
        token = token.expires_in(left);
    }
    TokenResponse { token, refresh: refresh.filter(|refresh| !refresh.is_empty()) }
}

/// A body of the type `application/x-www-form-urlencoded`.
struct Form(Zeroizing<Vec<u8>>);

/// The characters that a form does not encode.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

impl Default for Form {
    fn default() -> Self {
        // A large capacity at once, because a buffer that grows leaves copies that are not wiped.
        Self(Zeroizing::new(Vec::with_capacity(4 * 1024)))
    }
}

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        utf8_percent_encode(name, FORM).for_each(|part| self.0.extend(part.bytes()));
        self.0.push(b'=');
        utf8_percent_encode(value, FORM).for_each(|part| self.0.extend(part.bytes()));
    }
}

/// Builds the header value of RFC 6749 §2.3.1, where both parts are form-encoded first.
fn basic(id: &str, secret: &str) -> Option<HeaderValue> {
    let [id, secret] = [id, secret]
        .map(|text| Zeroizing::new(utf8_percent_encode(text, FORM).collect::<String>()));
    let pair = Zeroizing::new([&*id, ":", &*secret].concat());
    let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let value = Zeroizing::new(["Basic ", &*pair].concat().into_bytes());
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Client {
    pub(super) fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), secret: None, in_body: false }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query or a parameter may hold a secret.
        f.debug_struct("Endpoint")
            .field("host", &self.uri.host())
            .field("client", &self.client.as_ref().map(|client| &client.id))
            .field("params", &self.params.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
