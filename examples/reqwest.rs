//! One request to an OpenAI-compatible API, with two accounts, two models and retries.
//!
//! ```sh
//! API_URL=https://api.openai.com TEAM_TOKEN=.. RESERVE_TOKEN=.. \
//!     cargo run --example reqwest --features reqwest
//! ```
//!
//! The README shows this program from the first `use` on.

use std::{env, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, Event, Failover, FailoverLayer, ModelChain, Pool, RetryPolicy,
    adapter::ReqwestService, failure,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (team, reserve) = (env::var("TEAM_TOKEN")?, env::var("RESERVE_TOKEN")?);
    println!("{}", complete(&env::var("API_URL")?, &team, &reserve).await?);
    Ok(())
}

pub(crate) async fn complete(
    url: &str,
    team: &str,
    reserve: &str,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let report = |event: &Event| eprintln!("{:?}: {event}", event.severity());
    let pool = Pool::builder()
        .account(Account::new("team", Credential::bearer(team)?))
        .account(Account::new("reserve", Credential::bearer(reserve)?).priority(-1)) // if `team` cannot
        .origins([url]) // tokens are sent to this scheme, host and port only
        .help("replace the token under Settings, Providers")
        .reporter(report) // reports an account that stops working, once
        .build()?;
    let failover = FailoverLayer::builder()
        .rotation(pool)
        .models(ModelChain::list(["gpt-5", "gpt-5-mini"])?) // the second serves if the first cannot
        .retry(RetryPolicy::new())
        .reporter(report) // reports a failed request, once
        .build()?;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none()) // would carry the token to another host
        .retry(reqwest::retry::never()) // would resend outside of the budget
        .timeout(Duration::from_secs(60)) // of each attempt
        .build()?;
    let client: Failover<ReqwestService> = failover.layer(client.into());

    let question = r#"{"model": "gpt-5", "messages": [{"role": "user", "content": "Hello!"}]}"#;
    let request = Request::post(format!("{url}/v1/chat/completions"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(question))?;
    let response = client.clone().oneshot(request).await?; // a clone shares all state
    if let Some(cause) = failure(&response) {
        return Err(format!("no account can serve: {}", cause.code).into()); // `credential_expired`, ..
    }
    if !response.status().is_success() {
        return Err(format!("the API answered {}", response.status()).into());
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}
