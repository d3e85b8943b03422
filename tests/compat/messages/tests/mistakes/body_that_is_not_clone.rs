//! Separate layers clone request bodies: a streaming body needs `buffered`.

use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Layer, Service};
use tower_failover::RetryLayer;

fn proxy(client: Client<HttpConnector, Incoming>, request: http::Request<Incoming>) {
    let _ = RetryLayer::default().layer(client).call(request);
}

fn main() {}
