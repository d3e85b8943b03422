//! A client below `buffered` must accept `ReplayBody`.

use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service};
use tower_failover::{FailoverLayer, RetryPolicy};

fn proxy(client: Client<HttpConnector, Incoming>, request: http::Request<Incoming>) {
    let failover =
        FailoverLayer::builder().retry(RetryPolicy::new()).buffered(1024).build().unwrap();
    let _ = failover.layer(client).call(request);
}

fn main() {}
