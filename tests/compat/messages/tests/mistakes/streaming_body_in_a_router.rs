//! A body that streams cannot be cloned: it is to be `buffered`.

use axum::Router;
use tower_failover::{FailoverLayer, RetryPolicy};

fn main() {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let _: Router = Router::new().layer(failover);
}
