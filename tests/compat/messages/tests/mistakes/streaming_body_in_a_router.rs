//! A streaming body cannot be cloned and needs `buffered`.

use axum::Router;
use tower_failover::{FailoverLayer, RetryPolicy};

fn main() {
    let failover = FailoverLayer::builder().retry(RetryPolicy::new()).build().unwrap();
    let _: Router = Router::new().layer(failover);
}
