//! A body that cannot be built from bytes needs the strategy `Cloned`.

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service};
use tower_failover::{FailoverLayer, RetryPolicy};

fn get(client: Client<HttpConnector, Empty<Bytes>>, request: http::Request<Empty<Bytes>>) {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let _ = failover.layer(client).call(request);
}

fn main() {}
