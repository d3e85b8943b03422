// A proxy with axum: passes each request on with a credential of the pool, and answers its callers
// 502 when no credential is accepted. A 401 would tell them to log in again, for no reason.
//
//     API_URL=http://127.0.0.1:8080 TEAM_TOKEN=.. RESERVE_TOKEN=.. cargo run --example axum_proxy

use std::env;

use axum::{
    BoxError, Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header::HOST},
    response::{IntoResponse, Response},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, Pool, RetryPolicy,
    body::{Buffered, ReplayBody},
    failure,
    pool::OwnCredential,
    short_circuit::AuthFailureMode,
};

#[derive(Clone)]
struct Proxy {
    url: String,
    upstream: Failover<Client<HttpConnector, ReplayBody<Body>>, Buffered>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (team, reserve) = (env::var("TEAM_TOKEN")?, env::var("RESERVE_TOKEN")?);
    let router = router(&env::var("API_URL")?, &team, &reserve)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, router).await?)
}

fn router(url: &str, team: &str, reserve: &str) -> Result<Router, BoxError> {
    let pool = Pool::builder()
        .account(Account::new("team", Credential::bearer(team)?))
        .account(Account::new("reserve", Credential::bearer(reserve)?).priority(-1))
        .own_credential(OwnCredential::Replace) // the login of a caller is not for the upstream
        .origins([url])
        .build()?;
    let failover = FailoverLayer::builder()
        .rotation(pool)
        .retry(RetryPolicy::new())
        .buffered(1024 * 1024) // bodies up to 1 MiB can be sent again
        .auth_failure(AuthFailureMode::Replace) // no text of the upstream about our credential
        .build()?;
    // This connector speaks http. For https use `hyper_rustls::HttpsConnector`.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let proxy = Proxy { url: url.to_owned(), upstream: failover.layer(client) };
    Ok(Router::new().fallback(forward).with_state(proxy))
}

async fn forward(State(proxy): State<Proxy>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match format!("{}{path}", proxy.url).parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    request.headers_mut().remove(HOST); // the client sets that of the upstream
    match proxy.upstream.oneshot(request).await {
        Ok(answer) if answer.status() == 401 && failure(&answer).is_some() => {
            (StatusCode::BAD_GATEWAY, "The provider does not accept our credentials.\n")
                .into_response()
        }
        Ok(answer) => answer.into_response(),
        Err(_) => (StatusCode::BAD_GATEWAY, "The provider does not answer.\n").into_response(),
    }
}
