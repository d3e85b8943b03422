//! A streaming body cannot be cloned and needs `buffered`.

use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service};
use tower_failover::{FailoverLayer, RetryPolicy};

fn proxy(client: Client<HttpConnector, Incoming>, request: http::Request<Incoming>) {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let _ = failover.layer(client).call(request);
}

fn main() {}
