//! A `reqwest::Client` is a service for its own request type: `ReqwestService` adapts it.

use http::Request;
use tower::{Layer, Service, ServiceExt};
use tower_failover::{FailoverLayer, RetryPolicy};

async fn send(request: Request<String>) {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let mut client = failover.layer(reqwest::Client::new());
    let _ = client.ready().await.unwrap().call(request);
}

fn main() {}
