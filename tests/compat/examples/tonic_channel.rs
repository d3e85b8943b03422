// gRPC calls through a tonic channel, with a generated client (that of the health service): status
// 16 (unauthenticated) uses the next account, and status 14 (unavailable) is retried.
//
//     API_URL=http://127.0.0.1:50051 TEAM_TOKEN=.. RESERVE_TOKEN=.. cargo run --example tonic_channel

use std::{env, time::Duration};

use tonic::{body::Body, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, Layer};
use tower_failover::{Account, Credential, FailoverLayer, Pool, RetryPolicy, body::ReplayBody};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (team, reserve) = (env::var("TEAM_TOKEN")?, env::var("RESERVE_TOKEN")?);
    println!("{}", check(&env::var("API_URL")?, &team, &reserve).await?);
    Ok(())
}

async fn check(url: &str, team: &str, reserve: &str) -> Result<&'static str, BoxError> {
    let pool = Pool::builder()
        .account(Account::new("team", Credential::bearer(team)?))
        .account(Account::new("reserve", Credential::bearer(reserve)?).priority(-1))
        .origins([url])
        .help("replace the token under Settings, Providers") // in the message of the gRPC status
        .build()?;
    let failover = FailoverLayer::builder()
        .rotation(pool)
        .retry(RetryPolicy::new())
        // Messages are kept up to 64 KiB, and sent with tonic's own type of body.
        .buffered_as(64 * 1024, Body::new::<ReplayBody<Body>>)
        .build()?;
    // For https, switch on a TLS feature of tonic. The timeout is that of one attempt.
    let channel = Channel::from_shared(url.to_owned())?.timeout(Duration::from_secs(10));

    let mut client = HealthClient::new(failover.layer(channel.connect_lazy()));
    let request = HealthCheckRequest { service: String::new() };
    let answer = client.check(request).await?.into_inner();
    Ok(answer.status().as_str_name())
}
