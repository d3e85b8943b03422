//! The cost of a request without failures: a `POST` with 8 headers and 1 KiB of JSON, to an
//! in-process service that answers 200.
//!
//! Unit: nanoseconds for one whole request, the upstream included. The overhead of a stack is its
//! difference to `bare`, and its limit is a multiple of the overhead of `one_clone`.

#![allow(clippy::wildcard_imports, reason = "a group of benches uses the names of its file")]
#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

mod support;

use divan::{Bencher, black_box};
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use support::{Body, Requests, now, stacks, steady, upstream::Free};
use tower::{Layer, Service};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelFallbackLayer, RetryLayer,
    RetryPolicy, TokenRotationLayer,
};

fn main() {
    support::main();
}

fn time<S, RB>(bencher: Bencher<'_, '_>, service: S)
where
    S: Service<Request<Body>, Response = Response<RB>, Error: std::fmt::Debug>,
{
    let requests = Requests::usual();
    steady(bencher, service, 200, || requests.one());
}

/// The upstream alone, the baseline of all others.
#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    time(bencher, Free);
}

/// The minimum for resending: keep a clone, and replace one header. Its overhead is the yardstick.
#[divan::bench]
fn one_clone(bencher: Bencher<'_, '_>) {
    let requests = Requests::usual();
    let value = HeaderValue::from_static("Bearer tok-0123456789abcdef0123456789abcdef");
    bencher.with_inputs(|| requests.one()).bench_local_values(|mut request| {
        let kept = request.clone();
        request.headers_mut().insert(AUTHORIZATION, value.clone());
        let answer = now(Free.call(request)).unwrap();
        drop((black_box(kept), black_box(answer)));
    });
}

/// The loop without work: a policy without retries. The baseline is `bare`.
#[divan::bench]
fn no_retries(bencher: Bencher<'_, '_>) {
    let layer = FailoverLayer::builder().retry(RetryPolicy::new().retries(0)).build().unwrap();
    time(bencher, layer.layer(Free));
}

/// Each layer on its own. The baseline is `bare`; their sum compares with `together::fused`.
#[divan::bench_group]
mod alone {
    use super::*;

    /// A gate with a pool.
    #[divan::bench]
    fn gate(bencher: Bencher<'_, '_>) {
        time(bencher, AuthShortCircuitLayer::with_pool(stacks::pool(8)).layer(Free));
    }

    /// A gate without a pool, which remembers rejected credentials and covers the caller's own.
    #[divan::bench]
    fn gate_without_a_pool(bencher: Bencher<'_, '_>) {
        time(bencher, AuthShortCircuitLayer::new().any_credential().layer(Free));
    }

    /// With one account the request is not kept, as there is no other account.
    #[divan::bench(args = [1, 8])]
    fn rotation(bencher: Bencher<'_, '_>, accounts: usize) {
        time(bencher, TokenRotationLayer::new(stacks::pool(accounts)).layer(Free));
    }

    #[divan::bench]
    fn retry(bencher: Bencher<'_, '_>) {
        time(bencher, RetryLayer::new(stacks::retry()).layer(Free));
    }

    #[divan::bench]
    fn models(bencher: Bencher<'_, '_>) {
        time(bencher, ModelFallbackLayer::new(stacks::chain()).layer(Free));
    }

    #[divan::bench]
    fn dedup(bencher: Bencher<'_, '_>) {
        time(bencher, ErrorDedupLayer::new(stacks::report).layer(Free));
    }
}

/// Several layers together. The baseline is `one_clone`.
#[divan::bench_group]
mod together {
    use super::*;

    /// One account, gate and reports: nothing can be resent.
    #[divan::bench]
    fn fused_once(bencher: Bencher<'_, '_>) {
        let builder = FailoverLayer::builder().rotation(stacks::pool(1)).reporter(stacks::report);
        time(bencher, builder.build().unwrap().layer(Free));
    }

    /// All stages: 8 accounts, gate, three models, retry, reports.
    #[divan::bench]
    fn fused(bencher: Bencher<'_, '_>) {
        time(bencher, stacks::fused(Free, &stacks::pool(8)));
    }

    /// The same stack as five separate layers.
    #[divan::bench]
    fn stacked(bencher: Bencher<'_, '_>) {
        time(bencher, stacks::stacked(Free, &stacks::pool(8)));
    }
}
