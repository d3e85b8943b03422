//! The client of a program: accounts, models, a layer, an HTTP client.

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

/// The type does not depend on the settings, so it can be the type of a field.
pub(crate) type Client = Failover<HttpClient<HttpConnector, Body>>;

/// Builds the accounts. The program keeps a handle, to replace a token at run time.
pub(crate) fn pool(url: &str, tokens: &[String], reporter: ReporterHandle) -> Result<Pool, Error> {
    let mut pool = Pool::builder();
    for (i, token) in tokens.iter().enumerate() {
        pool = pool.account(Account::new(account(i), Credential::bearer(token)?));
    }
    let pool = pool
        .origins([url]) // The tokens are sent to no other origin.
        .help("update your tokens in Settings (https://example.com/settings)")
        .reporter(reporter)
        .build()?;
    Ok(pool)
}

/// Returns the id of the account with the `i`-th token.
pub(crate) fn account(i: usize) -> String {
    format!("account-{}", i + 1)
}

/// The retries that all scenes of a film share: few, so that they are used up here.
pub(crate) const RETRIES: u32 = 2;

/// Builds an ordinary HTTP client, with the layer of this crate around it.
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

/// Makes one scene, with one call and no loop.
pub(crate) async fn make(
    client: &Client,
    url: &str,
    model: &str,
    job: &Job,
) -> Result<Scene, Error> {
    let request = job.request(url, model)?;
    Ok(match client.clone().oneshot(request).await {
        Ok(answer) => Scene { made: answer.status().is_success(), outcome: describe(&answer) },
        // The error of the HTTP client, unchanged; the report contains its text.
        Err(_) => Scene { made: false, outcome: "no answer".to_owned() },
    })
}

/// Describes an answer: its status with the code of the cause, or the model that served instead.
fn describe<B>(answer: &Response<B>) -> String {
    let status = answer.status().as_u16();
    let instead = answer.extensions().get::<ServedBy>().and_then(|by| by.model.as_deref());
    match (failure(answer), instead) {
        (Some(cause), _) => format!("{status} {}", cause.code),
        (None, Some(model)) if status == 200 => format!("200 by {model}"),
        _ => status.to_string(),
    }
}
