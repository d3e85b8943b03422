//! The cost of a request with failures: a `POST` with 8 headers and JSON through all stages,
//! without backoff, to an in-process service.
//!
//! Unit: microseconds for one whole request, all its attempts and its answer included. The
//! baselines are `fused` and `stacked` of `overhead`, where nothing fails: the difference is the
//! price of the failures. The pool is reset between requests, untimed.

#![allow(clippy::wildcard_imports, reason = "a group of benches uses the names of its file")]
#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

mod support;

use divan::Bencher;
use support::{
    Model, Requests,
    stacks::{self, fused, stacked},
    steady,
    upstream::{Free, OK, OVERLOADED, REFUSED, Step, UNAVAILABLE},
    with_reset,
};
use tower::Layer;
use tower_failover::{AuthShortCircuitLayer, Pool, Reason, TokenRotationLayer};

const UNAVAILABLE_OK: &[Step] = &[UNAVAILABLE, OK];
const REFUSED_OK: &[Step] = &[REFUSED, OK];
const OVERLOADED_OK: &[Step] = &[OVERLOADED, OK];
const ALL_THREE_OK: &[Step] = &[REFUSED, OVERLOADED, UNAVAILABLE, OK];

/// Requests whose model stands at one end of a body of this size.
const BODIES: [(usize, Model); 4] =
    [(1, Model::First), (1, Model::Last), (64, Model::First), (64, Model::Last)];

fn main() {
    support::main();
}

/// The fused layer.
#[divan::bench_group]
mod fused_stack {
    use super::*;

    /// The first account is rejected, the second serves.
    #[divan::bench]
    fn status_401(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, REFUSED_OK, fused, || requests.one());
    }

    /// A retry succeeds.
    #[divan::bench]
    fn status_503(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, UNAVAILABLE_OK, fused, || requests.one());
    }

    /// The next model serves. Arguments: KiB of the body, and the position of the model in it.
    #[divan::bench(args = BODIES)]
    fn status_529(bencher: Bencher<'_, '_>, (kib, model): (usize, Model)) {
        let requests = Requests::new(kib * 1024, model);
        with_reset(bencher, OVERLOADED_OK, fused, || requests.one());
    }

    /// 401, 529, 503, 200: the next account, the next model, a retry.
    #[divan::bench]
    fn status_all_three(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, ALL_THREE_OK, fused, || requests.one());
    }
}

/// Five separate layers.
#[divan::bench_group]
mod separate_layers {
    use super::*;

    #[divan::bench]
    fn status_401(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, REFUSED_OK, stacked, || requests.one());
    }

    #[divan::bench]
    fn status_503(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, UNAVAILABLE_OK, stacked, || requests.one());
    }

    #[divan::bench(args = BODIES)]
    fn status_529(bencher: Bencher<'_, '_>, (kib, model): (usize, Model)) {
        let requests = Requests::new(kib * 1024, model);
        with_reset(bencher, OVERLOADED_OK, stacked, || requests.one());
    }

    #[divan::bench]
    fn status_all_three(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        with_reset(bencher, ALL_THREE_OK, stacked, || requests.one());
    }
}

/// A pool whose accounts are all rejected: the answer is local and nothing is sent. The baseline is
/// `bare` of `overhead`.
#[divan::bench_group]
mod dead_pool {
    use super::*;

    fn dead() -> Pool {
        let pool = stacks::pool(8);
        (0..8).for_each(|i| assert!(pool.invalidate(&stacks::id(i), Reason::Revoked)));
        pool
    }

    #[divan::bench]
    fn fused_stack(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        steady(bencher, fused(Free, &dead()), 401, || requests.one());
    }

    #[divan::bench]
    fn separate_layers(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        steady(bencher, stacked(Free, &dead()), 401, || requests.one());
    }

    #[divan::bench]
    fn rotation_alone(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        steady(bencher, TokenRotationLayer::new(dead()).layer(Free), 401, || requests.one());
    }

    /// The request has no credential, as if the rotation above had none.
    #[divan::bench]
    fn gate_alone(bencher: Bencher<'_, '_>) {
        let requests = Requests::usual();
        let bare = || {
            let mut request = requests.one();
            request.headers_mut().remove("authorization");
            request
        };
        steady(bencher, AuthShortCircuitLayer::with_pool(dead()).layer(Free), 401, bare);
    }
}
