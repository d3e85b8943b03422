//! Streams the answer of an OpenAI-compatible API, with one account as a reserve for another.
//!
//! ```sh
//! API_URL=https://api.openai.com TEAM_TOKEN=.. RESERVE_TOKEN=.. \
//!     cargo run --example openai_stream --features reqwest
//! ```
//!
//! Failover takes place until the head of an answer with a 2xx arrives. From then on the events are
//! passed on as they arrive, and nothing is resent: the work has begun and may be billed.

use std::{env, error::Error, io::Write};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, Failover, FailoverLayer, Pool, RetryPolicy, adapter::ReqwestService,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (team, reserve) = (env::var("TEAM_TOKEN")?, env::var("RESERVE_TOKEN")?);
    stream(&env::var("API_URL")?, &team, &reserve, &mut std::io::stdout()).await
}

pub(crate) async fn stream(
    url: &str,
    team: &str,
    reserve: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder()
        .account(Account::new("team", Credential::bearer(team)?))
        .account(Account::new("reserve", Credential::bearer(reserve)?).priority(-1))
        .origins([url])
        .build()?;
    let failover = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new()).build()?;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()?;
    let client: Failover<ReqwestService> = failover.layer(client.into());

    let question = serde_json::json!({
        "model": "gpt-5", "stream": true,
        "messages": [{"role": "user", "content": "Tell a short story."}],
    });
    let request = Request::post(format!("{url}/v1/chat/completions"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(question.to_string()))?;
    let response = client.oneshot(request).await?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        let text = body.collect().await?.to_bytes();
        return Err(format!("{}: {}", head.status, String::from_utf8_lossy(&text)).into());
    }
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        buffer.extend_from_slice(frame?.data_ref().unwrap_or(&Bytes::new()));
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            let Some(data) = line.strip_prefix(b"data: ").filter(|data| *data != b"[DONE]") else {
                continue; // an empty line, a comment, or the end
            };
            let event: serde_json::Value = serde_json::from_slice(data)?;
            let text = event["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    Ok(())
}
