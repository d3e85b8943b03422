//! The accounts, the sources of their tokens, and the client.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tower::Layer;
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, Pool, Reason, RetryPolicy,
    credential::{RefreshReason, SourceError, Token, TokenSource},
    report::ReporterHandle,
};

/// Any error of the example itself.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body that is cheap to clone, so that a request can be sent again.
pub(crate) type Body = Full<Bytes>;

/// An ordinary HTTP client, with the layer of this crate around it.
type Http = HttpClient<HttpConnector, Body>;
pub(crate) type Client = Failover<Http>;

/// The header that names the project. It belongs to the account: with the token of another account,
/// the API answers 403.
pub(crate) const PROJECT: HeaderName = HeaderName::from_static("x-project");

/// The settings of an account.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) account: &'static str,
    pub(crate) project: &'static str,
    pub(crate) token: String,
    pub(crate) refresh_token: String,
}

/// Builds the accounts, which serve in turn.
pub(crate) fn pool(url: &str, logins: &[Login], reporter: ReporterHandle) -> Result<Pool, Error> {
    let http = http();
    let mut pool = Pool::builder();
    for login in logins {
        pool = pool.account(
            Account::new(login.account, Credential::bearer(&login.token)?)
                // Set and removed together with the token.
                .header(PROJECT, HeaderValue::from_static(login.project))
                // One call renews the token for all requests that wait for it.
                .source(refresh(http.clone(), url, &login.refresh_token)),
        );
    }
    let pool = pool
        .origins([url]) // The tokens are sent to no other origin.
        .help("log in again in Settings (https://example.com/settings)")
        .reporter(reporter)
        .build()?;
    Ok(pool)
}

/// Builds the client for all calls but those for tokens.
pub(crate) fn client(pool: Pool, reporter: ReporterHandle) -> Result<Client, Error> {
    let layer = FailoverLayer::builder()
        .rotation(pool)
        .retry(RetryPolicy::new())
        .served_by(true) // Each answer names the account that served.
        .reporter(reporter)
        .build()?;
    Ok(layer.layer(http()))
}

pub(crate) fn http() -> Http {
    HttpClient::builder(TokioExecutor::new()).build_http()
}

/// Builds the token source of an account, here a closure. With feature `oauth`, `OAuthRefresh` does
/// this: it handles every error of RFC 6749 and keeps refresh tokens that rotate.
fn refresh(http: Http, url: &str, refresh_token: &str) -> impl TokenSource + use<> {
    let uri = format!("{url}/oauth/token");
    let form = Bytes::from(format!("grant_type=refresh_token&refresh_token={refresh_token}"));
    move |_: RefreshReason| {
        let request = Request::post(&uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.clone()));
        let http = http.clone();
        async move {
            let down = |error: Error| {
                SourceError::transient("the token endpoint is down").with_source(error)
            };
            let answer = http.request(request.map_err(|e| down(e.into()))?).await;
            let answer = answer.map_err(|error| down(error.into()))?;
            if answer.status().is_client_error() {
                // Another call would not help: a person must log in.
                return Err(SourceError::terminal(Reason::Revoked, "the login is over"));
            }
            let Given { access_token, expires_in } = json(answer).await.map_err(down)?;
            Ok(Token::new(access_token).expires_in(Duration::from_secs(expires_in)))
        }
    }
}

/// The answer of a token endpoint (RFC 6749 §5.1).
#[derive(Deserialize)]
struct Given {
    access_token: String,
    /// Seconds.
    expires_in: u64,
}

async fn json<T: for<'de> Deserialize<'de>>(answer: Response<Incoming>) -> Result<T, Error> {
    let status = answer.status();
    if !status.is_success() {
        return Err(format!("the server answered {status}").into());
    }
    Ok(serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?)
}
