//! tower-resilience: its retry and its breaker, and for the rest the policies of [`nested_tower`].
//!
//! [`nested_tower`]: super::nested_tower

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use tower::{Service, ServiceBuilder};
use tower_resilience::{
    circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer},
    retry::{RetryBudgetBuilder, RetryLayer},
};

use super::{
    keys::Keys,
    nested_tower::{Fallback, Rotation, authorize},
};
use crate::upstream::{Body, Upstream};

type Answer = Response<Body>;
type Error = CircuitBreakerError<std::convert::Infallible>;

/// Its retry and its breaker, with fallback and rotation around and between them.
pub fn stack(
    upstream: Upstream,
    keys: &Arc<Keys>,
) -> impl Service<Request<Body>, Response = Answer, Error = Error, Future: Send> + Clone + Send + use<>
{
    // The budget allows a retry of every other request for the whole run.
    let budget = RetryBudgetBuilder::new().token_bucket().max_tokens(usize::MAX >> 1).build();
    let retry = RetryLayer::<Request<Body>, Answer, Error>::builder()
        .max_attempts(3)
        .fixed_backoff(Duration::ZERO)
        .budget(budget.unwrap())
        .retry_on(|_| false)
        .retry_on_response(|response| response.status().as_u16() == 503)
        .build();
    let breaker = CircuitBreakerLayer::builder()
        .failure_rate_threshold(1.0)
        .minimum_number_of_calls(1000)
        .sliding_window_size(1000)
        .failure_classifier(|result: &Result<Answer, std::convert::Infallible>| {
            result.as_ref().is_ok_and(|answer| answer.status().is_server_error())
        })
        .build()
        .unwrap();
    ServiceBuilder::new()
        .retry(Fallback)
        .layer(retry)
        .map_request(authorize(keys.clone()))
        .retry(Rotation { keys: keys.clone(), left: 3 })
        .layer(breaker)
        .service(upstream)
}

/// The open breaker alone, which rejects without sending.
pub async fn open_breaker(
    upstream: Upstream,
) -> impl Service<Request<Body>, Response = Answer, Error = Error, Future: Send> + Clone + Send {
    let breaker = CircuitBreakerLayer::builder()
        .wait_duration_in_open(Duration::from_secs(3600))
        .build()
        .unwrap()
        .layer_fn(upstream);
    breaker.force_open().await;
    breaker
}
