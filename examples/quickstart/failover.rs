//! The client that a program would have: accounts, models, a layer, an HTTP client.

use http::Response;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, ModelChain, Pool, RetryPolicy, ServedBy, failure,
    report::ReporterHandle, retry::TokenBucket,
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
        .reporter(reporter)
        .build()?;
    Ok(pool)
}

/// The id of the account with the `i`-th token.
pub(crate) fn account(i: usize) -> String {
    format!("account-{}", i + 1)
}

/// How many retries all scenes of a film share: few, so that one can watch them run out.
pub(crate) const RETRIES: u32 = 2;

/// An ordinary HTTP client, and what this crate puts around it.
pub(crate) fn client(
    pool: Pool,
    models: &[String],
    reporter: ReporterHandle,
) -> Result<Client, Error> {
    let budget = TokenBucket::new(5 * RETRIES); // A retry costs 5. By default there are 500.
    let layer = FailoverLayer::builder()
        .models(ModelChain::list(models.to_vec())?) // Best first.
        .retry(RetryPolicy::new().budget(budget))
        .rotation(pool)
        .served_by(true)
        .reporter(reporter)
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
        // The HTTP client's own error, untouched; the report has its text.
        Err(_) => Scene { made: false, outcome: "no answer".to_owned() },
    })
}

/// The status, and what this crate knows beyond it: why, or which model in place of the first.
fn describe<B>(answer: &Response<B>) -> String {
    let status = answer.status().as_u16();
    let instead = answer.extensions().get::<ServedBy>().and_then(|by| by.model.as_deref());
    match (failure(answer), instead) {
        (Some(cause), _) => format!("{status} {}", cause.code),
        (None, Some(model)) if status == 200 => format!("200 by {model}"),
        _ => status.to_string(),
    }
}
