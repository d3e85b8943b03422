//! What a request costs on the heap when all goes well: nothing when fused, a few pieces when stacked.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use support::{Recorder, pool, stack, upstream::now};
use tower::{Layer, Service, util::BoxCloneService};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, RetryLayer, RetryPolicy,
    TokenRotationLayer, credential::Choose,
};

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

type Body = Full<Bytes>;

/// Always ready, always 200, and free of charge.
#[derive(Clone, Copy, Debug)]
struct Free;

impl Service<Request<Body>> for Free {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::default())))
    }
}

/// A POST of 1 KiB with eight headers, as a client builds it: values shared, room in the map.
struct Template {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Template {
    fn new() -> Self {
        let pairs = [
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("content-length", "1024"),
            ("user-agent", "videos/1.0"),
            ("x-request-id", "01J9ZC6T1V9QK7"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("idempotency-key", "7d1f2c9e"),
            ("x-project", "p1"),
        ];
        let header = |(name, value): (&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let body = Bytes::from(vec![b'x'; 1024]);
        // The first clone of a vector's bytes makes the count that all clones share.
        drop(body.clone());
        Self { headers: pairs.into_iter().map(header).collect(), body }
    }

    fn request(&self) -> Request<Body> {
        let mut headers = HeaderMap::with_capacity(12);
        headers.extend(self.headers.iter().cloned());
        let mut request = Request::post("https://api.example.com/videos")
            .body(Full::new(self.body.clone()))
            .unwrap();
        *request.headers_mut() = headers;
        request
    }
}

/// The most that one of 64 requests allocates, after a few to warm up.
fn most<S, RB>(mut service: S) -> u64
where
    S: Service<Request<Body>, Response = Response<RB>, Error = Infallible>,
{
    let template = Template::new();
    let mut once = || {
        let request = template.request();
        let counted = allocation_counter::measure(|| {
            now(std::future::poll_fn(|cx| service.poll_ready(cx))).unwrap();
            let answer = now(service.call(request)).unwrap();
            assert_eq!(answer.status(), 200);
            drop(answer);
        });
        counted.count_total
    };
    for _ in 0..32 {
        once();
    }
    (0..64).map(|_| once()).max().unwrap()
}

fn bare() -> u64 {
    most(Free)
}

#[test]
fn the_counter_counts() {
    assert_eq!(bare(), 0);
    // A box for each request, and one for the clone of the service in it.
    assert!(most(BoxCloneService::new(Free)) >= 1);
}

#[test]
fn the_fused_stack_allocates_nothing_for_a_success() {
    for ids in [&EIGHT[..], &EIGHT[..1]] {
        for retry in [true, false] {
            let recorder = Recorder::new();
            let mut builder =
                FailoverLayer::builder().rotation(pool(ids, &recorder)).report(recorder.clone());
            if retry {
                builder = builder.retry(RetryPolicy::new());
            }
            let count = most(builder.build().unwrap().layer(Free));
            println!("fused, {} accounts, retry {retry}: {count}", ids.len());
            assert_eq!(count, 0, "{} accounts, retry {retry}", ids.len());
            assert!(recorder.events().is_empty());
        }
    }
}

#[test]
fn no_way_of_choosing_allocates() {
    let ways = [
        Choose::RoundRobin,
        Choose::LeastInFlight,
        Choose::Weighted,
        Choose::FillFirst,
        Choose::MostRemaining,
    ];
    for choose in ways {
        let recorder = Recorder::new();
        let pool = stack::builder(&EIGHT, &recorder).choose(choose).build().unwrap();
        let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new());
        assert_eq!(most(layer.build().unwrap().layer(Free)), 0, "{choose:?}");
    }
}

#[test]
fn a_resting_account_costs_the_others_nothing() {
    let recorder = Recorder::new();
    let pool = pool(&EIGHT, &recorder);
    assert!(pool.rest("c", None, Duration::from_secs(3600)));
    assert!(pool.invalidate("d", tower_failover::Reason::Invalid));
    let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new());
    assert_eq!(most(layer.build().unwrap().layer(Free)), 0);
}

#[test]
fn a_stack_that_sends_once_allocates_nothing() {
    let recorder = Recorder::new();
    let layer = FailoverLayer::builder()
        .rotation(pool(&EIGHT, &recorder))
        .retry(RetryPolicy::new())
        .report(recorder.clone())
        .send_once();
    assert_eq!(most(layer.build().unwrap().layer(Free)), 0);
}

#[test]
fn a_layer_on_its_own_allocates_what_it_tells_the_others() {
    let recorder = Recorder::new();
    let pool = pool(&EIGHT, &recorder);
    let counts = [
        ("rotation", most(TokenRotationLayer::new(pool.clone()).layer(Free)), 4),
        ("retry", most(RetryLayer::new(RetryPolicy::new()).layer(Free)), 4),
        ("dedup", most(ErrorDedupLayer::new(recorder.clone()).layer(Free)), 4),
        ("gate with a pool", most(AuthShortCircuitLayer::with_pool(pool).layer(Free)), 0),
        ("gate", most(AuthShortCircuitLayer::new().any_credential().layer(Free)), 0),
    ];
    for (layer, count, most) in counts {
        println!("{layer}: {count}");
        assert!(count <= most, "{layer}: {count} allocations, and {most} are allowed");
    }
}
