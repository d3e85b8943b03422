//! The cost of the body strategies, in the fused stack with all stages.
//!
//! Unit: nanoseconds (microseconds where something fails) for one whole request. The baseline is
//! `in_memory`, the default; `send_once` keeps nothing and shows the cost of keeping.

#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

mod support;

use std::convert::Infallible;

use bytes::Bytes;
use divan::Bencher;
use futures_util::stream;
use http_body::Frame;
use http_body_util::StreamBody;
use support::{
    Model, Requests,
    stacks::{all_on, pool},
    steady,
    upstream::{Free, OK, Step, UNAVAILABLE},
    with_reset,
};
use tower::Layer;
use tower_failover::body::Cloned;

/// The sizes of the body in KiB.
const SIZES: [usize; 2] = [1, 64];
/// A buffer limit larger than any body.
const CAP: usize = 1 << 20;
const UNAVAILABLE_OK: &[Step] = &[UNAVAILABLE, OK];

fn main() {
    support::main();
}

fn requests(kib: usize) -> Requests {
    Requests::new(kib * 1024, Model::First)
}

/// Returns the body in four frames that are ready at once.
fn frames(
    whole: &Bytes,
) -> StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin + use<>>
{
    let quarter = whole.len() / 4;
    let frames = [0, 1, 2, 3].map(|i| Ok(Frame::data(whole.slice(i * quarter..(i + 1) * quarter))));
    StreamBody::new(stream::iter(frames))
}

/// Always 200.
#[divan::bench_group]
mod ok {
    use super::{Bencher, CAP, Cloned, Free, Layer, SIZES, all_on, frames, pool, requests, steady};

    #[divan::bench(args = SIZES)]
    fn send_once(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        let layer = all_on(&pool(8)).send_once().build().unwrap();
        steady(bencher, layer.layer(Free), 200, || requests.one());
    }

    #[divan::bench(args = SIZES)]
    fn in_memory(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        steady(bencher, all_on(&pool(8)).build().unwrap().layer(Free), 200, || requests.one());
    }

    #[divan::bench(args = SIZES)]
    fn cloned(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        let layer = all_on(&pool(8)).body_strategy(Cloned).build().unwrap();
        steady(bencher, layer.layer(Free), 200, || requests.one());
    }

    /// A body in one piece.
    #[divan::bench(args = SIZES)]
    fn buffered(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        let layer = all_on(&pool(8)).buffered(CAP).build().unwrap();
        steady(bencher, layer.layer(Free), 200, || requests.one());
    }

    /// A body in four frames.
    #[divan::bench(args = SIZES)]
    fn buffered_frames(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        let layer = all_on(&pool(8)).buffered(CAP).build().unwrap();
        steady(bencher, layer.layer(Free), 200, || requests.with(frames(requests.body())));
    }
}

/// 503, then 200: the body is sent twice.
#[divan::bench_group]
mod sent_twice {
    use super::{Bencher, CAP, Layer, SIZES, UNAVAILABLE_OK, all_on, frames, requests, with_reset};

    #[divan::bench(args = SIZES)]
    fn in_memory(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        with_reset(
            bencher,
            UNAVAILABLE_OK,
            |upstream, pool| all_on(pool).build().unwrap().layer(upstream),
            || requests.one(),
        );
    }

    #[divan::bench(args = SIZES)]
    fn buffered(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        with_reset(
            bencher,
            UNAVAILABLE_OK,
            |upstream, pool| all_on(pool).buffered(CAP).build().unwrap().layer(upstream),
            || requests.one(),
        );
    }

    #[divan::bench(args = SIZES)]
    fn buffered_frames(bencher: Bencher<'_, '_>, kib: usize) {
        let requests = requests(kib);
        with_reset(
            bencher,
            UNAVAILABLE_OK,
            |upstream, pool| all_on(pool).buffered(CAP).build().unwrap().layer(upstream),
            || requests.with(frames(requests.body())),
        );
    }
}
