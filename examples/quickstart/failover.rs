//! The client that a program would have: accounts, a layer, an HTTP client.

use http::Response;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, Pool, RetryPolicy, failure,
    report::ReporterHandle,
};

use super::job::{Body, Error, Job, Scene};

/// One type, whatever is switched on: it can stand in a struct.
pub(crate) type Client = Failover<HttpClient<HttpConnector, Body>>;

/// The accounts. The program keeps a handle, to replace a token while it runs.
pub(crate) fn pool(url: &str, tokens: &[String], reporter: ReporterHandle) -> Result<Pool, Error> {
    let mut pool = Pool::builder();
    for (i, token) in tokens.iter().enumerate() {
        pool = pool.account(Account::new(account(i), Credential::bearer(token)?));
    }
    let pool = pool
        .origins([url]) // The tokens go nowhere else.
        .help("update your tokens in Settings (https://example.com/settings)")
        .reporter_handle(reporter)
        .build()?;
    Ok(pool)
}

/// The id of the account with the `i`-th token.
pub(crate) fn account(i: usize) -> String {
    format!("account-{}", i + 1)
}

/// An ordinary HTTP client, and what this crate puts around it.
pub(crate) fn client(pool: Pool, reporter: ReporterHandle) -> Result<Client, Error> {
    let layer = FailoverLayer::builder()
        .rotation(pool)
        .retry(RetryPolicy::new())
        .report_to(reporter)
        .build()?;
    Ok(layer.layer(HttpClient::builder(TokioExecutor::new()).build_http()))
}

/// Makes one scene: one call, and no loop.
pub(crate) async fn make(
    client: &Client,
    url: &str,
    model: &str,
    job: &Job,
) -> Result<Scene, Error> {
    let request = job.request(url, model)?;
    Ok(match client.clone().oneshot(request).await {
        Ok(answer) => Scene { made: answer.status().is_success(), outcome: describe(&answer) },
        Err(error) => Scene { made: false, outcome: format!("error: {error}") },
    })
}

/// The status, and why, when this crate knows more than the status says.
fn describe<B>(answer: &Response<B>) -> String {
    let status = answer.status().as_u16();
    match failure(answer) {
        Some(cause) => format!("{status} {}", cause.code),
        None => status.to_string(),
    }
}
