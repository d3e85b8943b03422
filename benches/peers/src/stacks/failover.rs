//! This crate: fused, and as separate layers in the documented order.

use std::hint::black_box;

use tower::{Layer, ServiceBuilder, layer::util::Identity};
use tower_failover::{
    Account, AuthShortCircuit, AuthShortCircuitLayer, Backoff, Credential, ErrorDedup,
    ErrorDedupLayer, Failover, FailoverBuilder, FailoverLayer, Pool, Retry, RetryLayer,
    RetryPolicy, TokenBucket, TokenRotation, TokenRotationLayer,
    credential::{OwnCredential, PoolBuilder},
    report::Event,
};

use super::keys::token;

/// The one place to switch the model fallback on, fused and stacked.
///
/// It gives `None` while there is no `ModelFallback`; the cases with a 529 then leave the rows of
/// this crate out. Put `.models(MODELS)` (or what it will be called) on the builder here, and the
/// layer into [`model_layer`].
pub fn failover_with_models(builder: FailoverBuilder) -> Option<FailoverBuilder> {
    let _ = builder;
    None
}

/// The second half of [`failover_with_models`]: the separate layer.
fn model_layer() -> Identity {
    Identity::new()
}

/// Whether [`failover_with_models`] has been done.
pub fn has_models() -> bool {
    failover_with_models(FailoverLayer::builder()).is_some()
}

/// `n` accounts that replace what the caller put on.
pub fn pool(n: usize) -> Pool {
    accounts(n).origins(["https://api.example.com"]).build().unwrap()
}

/// The same for wherever the socket is.
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

/// Every other request may be sent again for as long as this runs; no waits.
fn retry() -> RetryPolicy {
    let bucket = std::sync::Arc::new(TokenBucket::new(u32::MAX));
    RetryPolicy::new().backoff(Backoff::none()).paid_from(bucket)
}

/// Everything on: rotation, short circuit, models (when they are there), retry, reports.
pub fn fused<S: Clone>(upstream: S, pool: &Pool) -> Failover<S> {
    let builder = FailoverLayer::builder().rotation(pool.clone()).retry(retry()).report(reporter);
    let builder = failover_with_models(builder.clone()).unwrap_or(builder);
    builder.build().unwrap().layer(upstream)
}

/// The same as separate layers.
#[allow(clippy::type_complexity)] // It is what the reader should see.
pub fn stacked<S: Clone>(
    upstream: S,
    pool: &Pool,
) -> ErrorDedup<Retry<TokenRotation<AuthShortCircuit<S>>>> {
    ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(reporter).redact(pool))
        .layer(model_layer())
        .layer(RetryLayer::new(retry()))
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .service(upstream)
}

/// One account, gate and reports: nothing is ever sent again.
pub fn fused_once<S: Clone>(upstream: S, pool: &Pool) -> Failover<S> {
    let builder = FailoverLayer::builder().rotation(pool.clone()).report(reporter);
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

/// Makes every account good again.
pub fn revive(pool: &Pool, n: usize) -> impl FnMut() + Clone + Send + 'static + use<> {
    let pool = pool.clone();
    let ids: Vec<_> = (0..n).map(|i| format!("account-{i}")).collect();
    move || {
        for id in &ids {
            pool.revive(id);
        }
    }
}
