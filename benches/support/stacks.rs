//! Pools and stacks.

use std::{hint::black_box, sync::Arc};

use tower::{Layer, ServiceBuilder};
use tower_failover::{
    Account, AuthShortCircuitLayer, Credential, ErrorDedupLayer, Event, Failover, FailoverLayer,
    ModelChain, ModelFallbackLayer, Pool, RetryLayer, RetryPolicy, TokenRotationLayer,
    dedup::ErrorDedup,
    failover::FailoverBuilder,
    fallback::ModelFallback,
    pool::{OwnCredential, PoolBuilder},
    retry::{Backoff, Retry, TokenBucket},
    rotation::TokenRotation,
    short_circuit::AuthShortCircuit,
};

pub(crate) fn id(i: usize) -> String {
    format!("account-{i}")
}

fn account(i: usize) -> Account {
    let token = format!("tok-{i:08}-0123456789abcdef0123456789abcdef");
    Account::new(id(i), Credential::bearer(token).unwrap())
}

/// Builds a pool of `n` accounts that replace the caller's credential.
pub(crate) fn accounts(n: usize) -> PoolBuilder {
    Pool::builder()
        .accounts((0..n).map(account))
        .origins(["https://api.example.com"])
        .own_credential(OwnCredential::Replace)
        .reporter(report)
}

pub(crate) fn pool(n: usize) -> Pool {
    accounts(n).build().unwrap()
}

/// A reporter that does nothing.
pub(crate) fn report(event: &Event) {
    black_box(event);
}

pub(crate) fn chain() -> ModelChain {
    ModelChain::list(["model-1", "model-2", "model-3"]).unwrap()
}

/// Builds a policy without waits and with a budget that is never empty.
pub(crate) fn retry() -> RetryPolicy {
    let bucket = Arc::new(TokenBucket::new(u32::MAX));
    RetryPolicy::new().backoff(Backoff::none()).budget(bucket)
}

/// Returns the builder with all stages.
pub(crate) fn all_on(pool: &Pool) -> FailoverBuilder {
    let builder = FailoverLayer::builder().rotation(pool.clone());
    builder.models(chain()).retry(retry()).reporter(report)
}

/// Builds the fused stack with all stages: rotation, gate, three models, retry, reports.
pub(crate) fn fused<S: Clone>(upstream: S, pool: &Pool) -> Failover<S> {
    all_on(pool).build().unwrap().layer(upstream)
}

/// The same stack as five separate layers.
#[allow(clippy::type_complexity)] // The type has one name for each layer.
pub(crate) fn stacked<S: Clone>(
    upstream: S,
    pool: &Pool,
) -> ErrorDedup<ModelFallback<Retry<TokenRotation<AuthShortCircuit<S>>>>> {
    ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(report).redact(pool))
        .layer(ModelFallbackLayer::new(chain()).pool(pool.clone()))
        // The builder of the fused layer does this if there is a chain.
        .layer(RetryLayer::new(retry().overloaded(false)))
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .service(upstream)
}
