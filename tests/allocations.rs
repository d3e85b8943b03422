//! The allocations of a successful request: none when fused, a few when stacked.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use support::{Recorder, pool, stack, upstream::now};
use tower::{Layer, Service, util::BoxCloneService};
use tower_failover::{
    Account, AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer,
    Pool, RetryLayer, RetryPolicy, TokenRotationLayer,
    credential::{RefreshReason, SourceError, Token},
    failover::FailoverBuilder,
    pool::Selection,
};

const EIGHT: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

type Body = Full<Bytes>;

/// A service that is always ready, answers 200 and allocates nothing.
#[derive(Clone, Copy, Debug)]
struct Free;

impl<B> Service<Request<B>> for Free {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Body::default())))
    }
}

/// The content of every body.
fn text() -> Vec<u8> {
    let mut text = br#"{"model":"m1","prompt":""#.to_vec();
    text.resize(1022, b'x');
    text.extend_from_slice(b"\"}");
    text
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
        let body = Bytes::from(text());
        // The first clone of a vector's bytes allocates the count that all clones share.
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

/// Returns the most that one of 64 requests allocates, after a few to warm up.
fn most<S, RB>(service: S) -> u64
where
    S: Service<Request<Body>, Response = Response<RB>, Error = Infallible>,
{
    most_with(service, Full::new)
}

/// Like [`most`], with a body that was never cloned: the first clone allocates the shared count.
fn most_fresh<S, RB>(service: S) -> u64
where
    S: Service<Request<Body>, Response = Response<RB>, Error = Infallible>,
{
    most_with(service, |_| Full::from(text().into_boxed_slice().into_vec()))
}

/// Like [`most`], with bodies that `make` builds from bytes that all requests share.
fn most_with<S, B, RB>(mut service: S, make: impl Fn(Bytes) -> B) -> u64
where
    S: Service<Request<B>, Response = Response<RB>, Error = Infallible>,
{
    let template = Template::new();
    let mut once = || {
        let request = template.request().map(|_| make(template.body.clone()));
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
fn allocation_counter_counts() {
    assert_eq!(bare(), 0);
    // A box for each request, and one for the clone of the service in it.
    assert!(most(BoxCloneService::new(Free)) >= 1);
}

#[test]
fn fused_stack_allocates_nothing_for_a_success() {
    for ids in [&EIGHT[..], &EIGHT[..1]] {
        for retry in [true, false] {
            let recorder = Recorder::new();
            let mut builder =
                FailoverLayer::builder().rotation(pool(ids, &recorder)).reporter(recorder.clone());
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

fn models() -> ModelChain {
    ModelChain::list(["m1", "m2", "m3"]).unwrap()
}

/// Builds a fused stack with every stage.
fn everything(recorder: &Recorder) -> FailoverBuilder {
    FailoverLayer::builder()
        .models(models())
        .rotation(pool(&EIGHT, recorder))
        .retry(RetryPolicy::new())
        .reporter(recorder.clone())
}

#[test]
fn success_with_every_stage_allocates_only_the_first_body_clone() {
    let recorder = Recorder::new();
    let layer = everything(&recorder).build().unwrap();
    let (shared, fresh) = (most(layer.layer(Free)), most_fresh(layer.layer(Free)));
    println!("all stages: {shared}, with a fresh body {fresh}");
    assert_eq!((shared, fresh), (0, 1));
    // A gate that remembers rejections, instead of that of the pool.
    let layer = everything(&recorder).any_credential().build().unwrap();
    assert_eq!((most(layer.layer(Free)), most_fresh(layer.layer(Free))), (0, 1));
}

#[test]
fn buffered_body_in_memory_is_kept_without_allocation() {
    let recorder = Recorder::new();
    let layer = everything(&recorder).buffered(64 * 1024).build().unwrap();
    let (shared, fresh) = (most(layer.layer(Free)), most_fresh(layer.layer(Free)));
    println!("buffered: {shared}, with a fresh body {fresh}");
    assert_eq!((shared, fresh), (0, 1));
    // A body of unknown length, and one that is larger than the limit.
    let unknown = |body: Bytes| StreamBody::new(stream::once(ready(frame(body))));
    let large = everything(&recorder).buffered(1023).build().unwrap();
    assert_eq!(most_with(layer.layer(Free), unknown), 0);
    assert_eq!(most_with(large.layer(Free), Full::new), 0);
    assert_eq!(most_with(large.layer(Free), unknown), 0);
    // In pieces: the list that grows, and the list that is kept.
    let pieces = |body: Bytes| {
        let (start, end) = (body.slice(..100), body.slice(100..));
        StreamBody::new(stream::iter([frame(start), frame(end)]))
    };
    let pieces = most_with(layer.layer(Free), pieces);
    println!("buffered, two pieces: {pieces}");
    assert!(pieces <= 2, "{pieces}");
}

#[allow(clippy::unnecessary_wraps, reason = "the item type of a stream of frames")]
fn frame(data: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(data))
}

#[test]
fn five_separate_layers_allocate_at_most_five_times() {
    let recorder = Recorder::new();
    let pool = pool(&EIGHT, &recorder);
    let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(Free);
    let rotation = TokenRotationLayer::new(pool.clone()).layer(gate);
    let retry = RetryLayer::new(RetryPolicy::new()).layer(rotation);
    let models = ModelFallbackLayer::new(models()).pool(pool).layer(retry);
    let dedup = ErrorDedupLayer::new(recorder.clone()).layer(models);
    let (shared, fresh) = (most(dedup.clone()), most_fresh(dedup));
    println!("five layers: {shared}, with a fresh body {fresh}");
    assert!(shared <= 4 && fresh <= 5, "{shared}, with a fresh body {fresh}");
    assert!(recorder.events().is_empty());
}

#[test]
fn selection_allocates_nothing() {
    let strategies = [
        Selection::RoundRobin,
        Selection::LeastInFlight,
        Selection::Weighted,
        Selection::FillFirst,
        Selection::MostRemaining,
    ];
    for selection in strategies {
        let recorder = Recorder::new();
        let pool = stack::builder(&EIGHT, &recorder).selection(selection).build().unwrap();
        let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new());
        assert_eq!(most(layer.build().unwrap().layer(Free)), 0, "{selection:?}");
    }
}

#[test]
fn cooling_account_causes_no_allocation() {
    let recorder = Recorder::new();
    let pool = pool(&EIGHT, &recorder);
    assert!(pool.cool_down("c", None, Duration::from_secs(3600)));
    assert!(pool.invalidate("d", tower_failover::Reason::Invalid));
    let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new());
    assert_eq!(most(layer.build().unwrap().layer(Free)), 0);
}

#[test]
fn send_once_stack_allocates_nothing() {
    let recorder = Recorder::new();
    let layer = FailoverLayer::builder()
        .rotation(pool(&EIGHT, &recorder))
        .retry(RetryPolicy::new())
        .reporter(recorder.clone())
        .send_once();
    assert_eq!(most(layer.build().unwrap().layer(Free)), 0);
}

#[test]
fn single_layer_allocates_at_most_four_times() {
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

/// A token of a source that expires in an hour costs no more than any other.
#[tokio::test]
async fn fresh_token_of_a_source_allocates_nothing() {
    let accounts = EIGHT.map(|id| {
        Account::from_source(id, move |_: RefreshReason| async move {
            let token = Token::new(format!("tok-{id}"));
            Ok::<_, SourceError>(token.expires_in(Duration::from_secs(3600)))
        })
    });
    let recorder = Recorder::new();
    let pool = Pool::builder().any_origin().accounts(accounts).reporter(recorder.clone());
    let pool = pool.build().unwrap();
    // All tokens load before the count.
    while pool.view().accounts.iter().any(|account| account.generation == 0) {
        pool.wait_ready().await.unwrap();
        drop(send_one(&pool));
        tokio::task::yield_now().await;
    }
    for retry in [true, false] {
        let mut builder =
            FailoverLayer::builder().rotation(pool.clone()).reporter(recorder.clone());
        if retry {
            builder = builder.retry(RetryPolicy::new());
        }
        assert_eq!(most(builder.build().unwrap().layer(Free)), 0, "retry {retry}");
    }
    assert!(recorder.events().is_empty());
}

/// Sends one request over this pool.
fn send_one(pool: &Pool) -> Option<Response<Body>> {
    let mut service = TokenRotationLayer::new(pool.clone()).layer(Free);
    let answer = std::pin::pin!(service.call(Template::new().request()));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match answer.poll(&mut cx) {
        Poll::Ready(answer) => Some(answer.unwrap().map(|_| Body::default())),
        Poll::Pending => None,
    }
}
