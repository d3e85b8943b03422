//! A service that cannot be cloned needs a buffer below.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{BoxError, ServiceBuilder, util::BoxService};
use tower_failover::{FailoverLayer, RetryPolicy};

type Boxed = BoxService<Request<Full<Bytes>>, Response<Full<Bytes>>, BoxError>;

fn stack(service: Boxed) {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let _ = ServiceBuilder::new().layer(failover).service(service);
}

fn main() {}
