//! tower's `Retry`, with its budget and its backoff.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use futures_util::future::Either;
use http::{Request, Response, StatusCode};
use tower::retry::{
    Policy,
    backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
    budget::{Budget, TpsBudget},
};

use crate::upstream::Body;

/// Resends transient failures, at most twice.
#[derive(Clone)]
pub struct Transient {
    left: u32,
    budget: Arc<TpsBudget>,
    backoff: ExponentialBackoff,
    waits: bool,
}

impl Transient {
    /// Adds a budget that allows a retry of every other request; without waits.
    pub fn at_once() -> Self {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let rng = tower::util::rng::HasherRng::default();
        let backoff = ExponentialBackoffMaker::new(least, most, 0.99, rng).unwrap().make_backoff();
        let budget = TpsBudget::new(Duration::from_secs(10), 1_000_000, 2.0);
        Self { left: 2, budget: Arc::new(budget), backoff, waits: false }
    }
}

impl<B, E> Policy<Request<Body>, Response<B>, E> for Transient {
    type Future = Either<Ready<()>, <ExponentialBackoff as Backoff>::Future>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Self::Future> {
        if !is_transient(result) {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        if !self.budget.withdraw() {
            return None;
        }
        Some(match self.waits {
            true => Either::Right(self.backoff.next_backoff()),
            false => Either::Left(ready(())),
        })
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

fn is_transient<B, E>(result: &Result<Response<B>, E>) -> bool {
    match result {
        Ok(response) => matches!(
            response.status(),
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        ),
        Err(_) => true,
    }
}
