//! Helpers that the benches share: requests, in-process upstreams, pools and stacks.

#![allow(dead_code)] // Not every bench uses everything.
#![allow(clippy::unwrap_used)] // A bench that panics has failed.

pub(crate) mod stacks;
pub(crate) mod upstream;

use std::{
    cell::{Cell, RefCell},
    fmt::Debug,
    future::{Future, poll_fn},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use divan::Bencher;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tower::Service;
use tower_failover::Pool;

use self::upstream::{Script, Step};

pub(crate) type Body = Full<Bytes>;

const URI: &str = "https://api.example.com/v1/messages";
const HEADERS: [(&str, &str); 8] = [
    ("content-type", "application/json"),
    ("accept", "application/json"),
    // The caller's own credential, which every stack with a pool replaces.
    ("authorization", "Bearer caller-0123456789abcdef0123456789"),
    ("user-agent", "example/1.4.2 (linux; x86_64)"),
    ("accept-encoding", "gzip, br, zstd"),
    ("x-request-id", "7f9c2ba4-e88f-41f0-9d1e-6b2a0c5d3e4f"),
    ("api-version", "2026-06-01"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
];
const PROSE: &str = "What was refused is another matter: nothing was done, and the next account may \
    be asked at once. The letter said \\\"not before Monday\\\", which nobody had read.\\n";

/// The position of the model in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    First,
    Last,
}

/// The number of requests in one sample: enough to warm the caches. Benches that change their pool
/// have as many stacks, which take turns; their pools are reset between samples, untimed.
const SAMPLE: u32 = 64;

/// Runs the benches of a file with the options of the command line.
pub(crate) fn main() {
    divan::Divan::default().sample_size(SAMPLE).sample_count(300).config_with_args().main();
}

/// A factory of requests: `POST`, 8 headers, a JSON body; values and body are shared, as in a
/// client that keeps them.
pub(crate) struct Requests {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Requests {
    /// Builds the factory of most benches: a body of 1 KiB.
    pub(crate) fn usual() -> Self {
        Self::new(1024, Model::First)
    }

    pub(crate) fn new(size: usize, model: Model) -> Self {
        let header = |(name, value): (&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let body = Bytes::from(json(size, model));
        // The first clone of a vector's bytes allocates the shared reference count.
        drop(body.clone());
        Self { headers: HEADERS.into_iter().map(header).collect(), body }
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn one(&self) -> Request<Body> {
        self.with(Full::new(self.body.clone()))
    }

    pub(crate) fn with<B>(&self, body: B) -> Request<B> {
        let mut request = Request::post(URI).body(body).unwrap();
        request.headers_mut().extend(self.headers.iter().cloned());
        request
    }
}

fn json(size: usize, model: Model) -> Vec<u8> {
    let (start, end) = match model {
        Model::First => (r#"{"model":"model-1","messages":[{"content":""#, r#""}]}"#),
        Model::Last => (r#"{"messages":[{"content":""#, r#""}],"model":"model-1"}"#),
    };
    let mut text = String::from(start);
    while text.len() + PROSE.len() + end.len() <= size {
        text.push_str(PROSE);
    }
    while text.len() + end.len() < size {
        text.push('x');
    }
    text.push_str(end);
    text.into_bytes()
}

/// Returns the output of a future that never waits.
#[inline]
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// Sends one request, from the readiness poll to dropping the answer; returns the status.
#[inline]
pub(crate) fn send<S, B, RB>(service: &mut S, request: Request<B>) -> u16
where
    S: Service<Request<B>, Response = Response<RB>, Error: Debug>,
{
    now(poll_fn(|cx| service.poll_ready(cx))).unwrap();
    let answer = now(service.call(request)).unwrap();
    black_box(&answer).status().as_u16()
}

/// Times requests through a stack that does not change. Building them is not timed.
pub(crate) fn steady<S, B, RB>(
    bencher: Bencher<'_, '_>,
    mut service: S,
    status: u16,
    request: impl Fn() -> Request<B>,
) where
    S: Service<Request<B>, Response = Response<RB>, Error: Debug>,
{
    bencher
        .with_inputs(request)
        .bench_local_values(|request| assert_eq!(send(&mut service, request), status));
}

/// Times requests that change their stack's pool; rejected accounts are revived afterwards,
/// untimed.
pub(crate) fn with_reset<S, B, RB>(
    bencher: Bencher<'_, '_>,
    steps: &'static [Step],
    stack: impl Fn(Script, &Pool) -> S,
    request: impl Fn() -> Request<B>,
) where
    S: Service<Request<B>, Response = Response<RB>, Error: Debug>,
{
    let worlds: Vec<_> = (0..SAMPLE)
        .map(|_| {
            let (upstream, pool) = (Script::new(steps), stacks::pool(8));
            (RefCell::new(stack(upstream, &pool)), upstream, pool)
        })
        .collect();
    let turn = Cell::new(0);
    let last = steps.last().unwrap().0;
    bencher
        .with_inputs(|| {
            let world = &worlds[turn.replace((turn.get() + 1) % worlds.len())];
            world.1.rewind();
            (0..8).for_each(|i| assert!(world.2.revive(&stacks::id(i))));
            (world, request())
        })
        .bench_local_values(|((stack, upstream, _), request)| {
            assert_eq!(send(&mut *stack.borrow_mut(), request), last);
            assert_eq!(upstream.calls(), steps.len());
        });
}
