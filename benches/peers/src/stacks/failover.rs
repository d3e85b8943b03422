//! This crate: fused, and as separate layers in the documented order.

use std::hint::black_box;

use tower::{Layer, ServiceBuilder};
use tower_failover::{
    Account, AuthShortCircuitLayer, Credential, ErrorDedupLayer, Event, Failover, FailoverLayer,
    ModelChain, ModelFallbackLayer, Pool, RetryLayer, RetryPolicy, TokenRotationLayer,
    dedup::ErrorDedup,
    fallback::ModelFallback,
    pool::{OwnCredential, PoolBuilder},
    retry::{Backoff, Retry, TokenBucket},
    rotation::TokenRotation,
    short_circuit::AuthShortCircuit,
};

use super::keys::{MODELS, token};

/// The models that every stack falls back to.
fn chain() -> ModelChain {
    ModelChain::list(MODELS).unwrap()
}

/// Builds a pool of `n` accounts that replace the caller's credential.
pub fn pool(n: usize) -> Pool {
    accounts(n).origins(["https://api.example.com"]).build().unwrap()
}

/// Builds the pool for the origin of the socket.
pub fn socket_pool(n: usize) -> Pool {
    accounts(n).any_origin().build().unwrap()
}

fn accounts(n: usize) -> PoolBuilder {
    let account = |i| Account::new(format!("account-{i}"), Credential::bearer(token(i)).unwrap());
    Pool::builder()
        .accounts((0..n).map(account))
        .own_credential(OwnCredential::Replace)
        .reporter(reporter)
}

pub fn reporter(event: &Event) {
    black_box(event);
}

/// The budget allows a retry of every other request for the whole run; no waits.
fn retry() -> RetryPolicy {
    let bucket = std::sync::Arc::new(TokenBucket::new(u32::MAX));
    RetryPolicy::new().backoff(Backoff::none()).budget(bucket)
}

/// Builds the fused stack with all stages: rotation, short circuit, three models, retry, reports.
pub fn fused<S: Clone>(upstream: S, pool: &Pool) -> Failover<S> {
    let builder = FailoverLayer::builder().rotation(pool.clone()).models(chain()).retry(retry());
    builder.reporter(reporter).build().unwrap().layer(upstream)
}

/// The same as separate layers.
#[allow(clippy::type_complexity)] // The type shows the layers.
pub fn stacked<S: Clone>(
    upstream: S,
    pool: &Pool,
) -> ErrorDedup<ModelFallback<Retry<TokenRotation<AuthShortCircuit<S>>>>> {
    ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(reporter).redact(pool))
        .layer(ModelFallbackLayer::new(chain()).pool(pool.clone()))
        // The builder of the fused layer does this if there is a chain.
        .layer(RetryLayer::new(retry().overloaded(false)))
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .service(upstream)
}

/// Builds a stack with one account, gate and reports: nothing is resent.
pub fn fused_once<S: Clone>(upstream: S, pool: &Pool) -> Failover<S> {
    let builder = FailoverLayer::builder().rotation(pool.clone()).reporter(reporter);
    builder.build().unwrap().layer(upstream)
}

/// The same as separate layers.
pub fn stacked_once<S: Clone>(
    upstream: S,
    pool: &Pool,
) -> ErrorDedup<TokenRotation<AuthShortCircuit<S>>> {
    ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(reporter).redact(pool))
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .service(upstream)
}

/// Makes every account usable again.
pub fn revive(pool: &Pool, n: usize) -> impl FnMut() + Clone + Send + 'static + use<> {
    let pool = pool.clone();
    let ids: Vec<_> = (0..n).map(|i| format!("account-{i}")).collect();
    move || {
        for id in &ids {
            pool.revive(id);
        }
    }
}
