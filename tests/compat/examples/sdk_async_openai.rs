// An SDK, async-openai, that sends its requests through the layers. The adapter converts between
// the types of reqwest, which the SDK uses, and those of the crate `http`.
//
//     API_URL=https://api.openai.com TEAM_TOKEN=.. RESERVE_TOKEN=.. cargo run --example sdk_async_openai

use std::env;

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, middleware::HttpRequestFactory,
    types::chat::CreateChatCompletionRequest,
};
use serde_json::json;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, Pool, RetryPolicy, adapter::ReqwestService,
    body::Buffered, pool::OwnCredential,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (team, reserve) = (env::var("TEAM_TOKEN")?, env::var("RESERVE_TOKEN")?);
    let client = client(&env::var("API_URL")?, &team, &reserve)?;
    let question: CreateChatCompletionRequest = serde_json::from_value(json!({
        "model": "gpt-5", "messages": [{ "role": "user", "content": "Hello!" }],
    }))?;
    let answer = client.chat().create(question).await?;
    println!("{}", answer.choices[0].message.content.as_deref().unwrap_or_default());
    Ok(())
}

fn client(url: &str, team: &str, reserve: &str) -> Result<Client<OpenAIConfig>, BoxError> {
    let pool = Pool::builder()
        .account(Account::new("team", Credential::bearer(team)?))
        .account(Account::new("reserve", Credential::bearer(reserve)?).priority(-1))
        .own_credential(OwnCredential::Replace) // the SDK always sends an `Authorization`
        .origins([url])
        .build()?;
    let failover = FailoverLayer::builder()
        .rotation(pool)
        .retry(RetryPolicy::new())
        .buffered(1024 * 1024) // a `reqwest::Body` is not `Clone`
        .build()?;
    let reqwest = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()?;
    let service: Failover<ReqwestService, Buffered> = failover.layer(reqwest.into());

    let adapter = service_fn(move |factory: HttpRequestFactory| {
        let service = service.clone();
        async move {
            let request: http::Request<reqwest::Body> = factory.build().await?.try_into()?;
            let answer = service.oneshot(request).await?;
            Ok::<_, OpenAIError>(reqwest::Response::from(answer))
        }
    });
    let config = OpenAIConfig::new().with_api_base(format!("{url}/v1")).with_api_key("unused");
    Ok(Client::with_config(config).with_http_service(adapter))
}
