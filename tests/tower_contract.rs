//! The contract of every layer with the service below and the caller: readiness, clones, errors, bodies.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    cell::Cell,
    error::Error,
    future::{Future, Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use http_body_util::Full;
use support::{
    Recorder, Step, Upstream,
    boxed::{Boxed, boxed},
    frames::{Beat, Broken, Frames, Player, drain},
    get, pool, post,
    stack::Body,
    upstream::{Mark, now},
};
use tokio::sync::Semaphore;
use tower::{
    BoxError, Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn,
};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, RetryLayer, RetryPolicy,
    TokenRotationLayer, adapter::FailureToErrLayer, body::Cloned, retry::Backoff,
};

fn policy() -> RetryPolicy {
    RetryPolicy::new().backoff(Backoff::none())
}

fn fused(recorder: &Recorder) -> FailoverLayer {
    FailoverLayer::builder()
        .rotation(pool(&["a", "b"], recorder))
        .retry(policy())
        .reporter(recorder.clone())
        .build()
        .unwrap()
}

/// Each layer alone, the fused stack, and all layers stacked.
const STACKS: [&str; 8] = [
    "fused",
    "rotation",
    "gate with a pool",
    "gate with a pool, cloning",
    "gate",
    "retry",
    "dedup",
    "stacked",
];

/// Builds the stack of this name over this service, with its own pool.
fn stack<S, RB>(name: &str, inner: S) -> Boxed
where
    S: Service<Request<Body>, Response = Response<RB>, Error = BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    let recorder = Recorder::new();
    let pool = pool(&["a", "b"], &recorder);
    let rotation = TokenRotationLayer::new(pool.clone());
    let gate = AuthShortCircuitLayer::with_pool(pool);
    let seen = AuthShortCircuitLayer::new().any_credential();
    let retry = RetryLayer::new(policy());
    let dedup = ErrorDedupLayer::new(recorder.clone());
    match name {
        "fused" => boxed(fused(&recorder).layer(inner)),
        "rotation" => boxed(rotation.layer(inner)),
        "gate with a pool" => boxed(gate.layer(inner)),
        "gate with a pool, cloning" => boxed(gate.body_strategy(Cloned).layer(inner)),
        "gate" => boxed(seen.layer(inner)),
        "retry" => boxed(retry.layer(inner)),
        "dedup" => boxed(dedup.layer(inner)),
        "stacked" => boxed(dedup.layer(retry.layer(rotation.layer(gate.layer(inner))))),
        other => panic!("unknown stack {other}"),
    }
}

/// Awaits the future, and panics if it takes more than an hour of paused time.
async fn soon<F: Future>(context: &str, future: F) -> F::Output {
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, future).await.unwrap_or_else(|_| panic!("{context}: a deadlock"))
}

async fn poll_until_ready<S: Service<Request<Body>>>(service: &mut S) -> Result<(), S::Error> {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await
}

#[tokio::test(start_paused = true)]
async fn service_is_called_only_after_poll_ready() {
    for name in STACKS {
        // It panics if it is called without being ready; a clone begins unready.
        let upstream = Upstream::statuses(&[503, 401, 200, 429, 500]);
        let mut service = stack(name, upstream.clone());
        for _ in 0..6 {
            for _ in 0..3 {
                poll_until_ready(&mut service).await.unwrap();
            }
            service.call(get()).await.unwrap();
        }
        // With a pool, the requests after the 429 are answered locally.
        assert!(upstream.calls() >= 4, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn permit_is_held_for_one_attempt_at_a_time() {
    for name in STACKS {
        let permits = Arc::new(Semaphore::new(1));
        let upstream = Upstream::statuses(&[500, 401, 429, 503, 500, 200]);
        let limited = ConcurrencyLimit::with_semaphore(upstream.clone(), permits.clone());
        let service = stack(name, limited);
        soon(name, async {
            for _ in 0..8 {
                service.clone().oneshot(get()).await.unwrap();
            }
            // Several at once, each of which may make another attempt.
            upstream.push([503, 500, 503, 500].map(Step::status));
            let calls = (0..6).map(|_| service.clone().oneshot(get()));
            for answer in futures_util::future::join_all(calls).await {
                answer.unwrap();
            }
        })
        .await;
        assert_eq!(permits.available_permits(), 1, "{name}: after answers");
        // Ready, and never called.
        let mut idle = service.clone();
        soon(name, poll_until_ready(&mut idle)).await.unwrap();
        drop(idle);
        assert_eq!(permits.available_permits(), 1, "{name}: after idling");
        // Dropped during an attempt.
        let hanging = Upstream::script([Step::status(503), Step::hang(), Step::hang()]);
        let limited = ConcurrencyLimit::with_semaphore(hanging.clone(), permits.clone());
        let mut calls = stack(name, limited);
        if !["fused", "retry", "stacked"].contains(&name) {
            poll_until_ready(&mut calls).await.unwrap();
            calls.call(get()).await.unwrap();
        }
        let mut call = Box::pin(calls.oneshot(get()));
        assert!(tokio::time::timeout(Duration::from_secs(1), call.as_mut()).await.is_err());
        assert_eq!((hanging.calls(), permits.available_permits()), (2, 0), "{name}: in flight");
        drop(call);
        assert_eq!(permits.available_permits(), 1, "{name}: after a drop");
    }
}

#[tokio::test(start_paused = true)]
async fn buffer_works_inside_and_outside() {
    for name in STACKS {
        for inside in [true, false] {
            let upstream = Upstream::statuses(&[503, 401, 500, 200]);
            let service = if inside {
                stack(name, Buffer::new(upstream.clone(), 1))
            } else {
                boxed(Buffer::new(stack(name, upstream.clone()), 1))
            };
            for _ in 0..6 {
                soon(name, service.clone().oneshot(get())).await.unwrap();
            }
            assert!(upstream.calls() >= 6, "{name}, inside: {inside}");
        }
    }
}

/// A service that is ready this many times, then broken.
#[derive(Clone, Debug)]
struct Breaking {
    upstream: Upstream,
    left: Arc<Mutex<usize>>,
}

impl Service<Request<Body>> for Breaking {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = support::upstream::Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            return Poll::Ready(Err(Broken("closed".into()).into()));
        }
        *left -= 1;
        self.upstream.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.upstream.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_error_is_returned_without_a_wait() {
    let broken = Breaking { upstream: Upstream::default(), left: Arc::default() };
    for name in STACKS {
        let mut service = stack(name, broken.clone());
        let ready = now(std::future::poll_fn(|cx| service.poll_ready(cx)));
        assert!(ready.unwrap_err().is::<Broken>(), "{name}");
    }
    assert_eq!(broken.upstream.calls(), 0);
    // Between two attempts: the newest outcome is the error.
    for name in ["fused", "retry", "stacked"] {
        let upstream = Upstream::statuses(&[503]);
        let broken = Breaking { upstream: upstream.clone(), left: Arc::new(Mutex::new(1)) };
        let error = soon(name, stack(name, broken).oneshot(get())).await.unwrap_err();
        assert!(error.is::<Broken>(), "{name}");
        assert_eq!(upstream.calls(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn pending_readiness_is_passed_on_while_an_account_can_serve() {
    let upstream = Upstream::default();
    upstream.busy(true);
    for name in STACKS {
        let mut service = stack(name, upstream.clone());
        let polled = now(std::future::poll_fn(|cx| Poll::Ready(service.poll_ready(cx))));
        assert!(polled.is_pending(), "{name}");
    }
    assert_eq!(upstream.calls(), 0);
}

/// A service that is not `Clone`, with a body that is not `Clone` either.
#[derive(Debug)]
struct Single(Upstream);

/// A request body that can be sent once.
struct Once(Bytes);

impl Service<Request<Once>> for Single {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = support::upstream::Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Once>) -> Self::Future {
        self.0.call(request.map(|Once(bytes)| Full::new(bytes)))
    }
}

#[tokio::test(start_paused = true)]
async fn service_that_is_not_clone_gets_one_attempt() {
    async fn once<S, RB>(name: &str, service: S, upstream: &Upstream)
    where
        S: Service<Request<Once>, Response = Response<RB>, Error = BoxError>,
    {
        let before = upstream.calls();
        let request = post().map(|_| Once(Bytes::from_static(b"once")));
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 503, "{name}");
        assert_eq!(upstream.calls(), before + 1, "{name}");
        assert_eq!(upstream.sent().last().unwrap().body, "once", "{name}");
    }
    let upstream = Upstream::default().otherwise(Step::status(503));
    let single = || Single(upstream.clone());
    let recorder = Recorder::new();
    let accounts = pool(&["a", "b"], &recorder);
    let retry = RetryLayer::new(policy()).send_once();
    let rotation = TokenRotationLayer::new(accounts.clone()).send_once();
    let gate = AuthShortCircuitLayer::with_pool(accounts.clone());
    let dedup = ErrorDedupLayer::new(recorder.clone());
    let all = FailoverLayer::builder()
        .rotation(accounts)
        .retry(policy())
        .reporter(recorder.clone())
        .send_once()
        .build()
        .unwrap();
    once("retry", retry.layer(single()), &upstream).await;
    once("rotation", rotation.layer(single()), &upstream).await;
    once("gate", gate.layer(single()), &upstream).await;
    once("dedup", dedup.layer(single()), &upstream).await;
    once("fused", all.layer(single()), &upstream).await;
    let stacked = dedup.layer(retry.layer(rotation.layer(gate.layer(single()))));
    once("stacked", stacked, &upstream).await;
    assert_eq!(recorder.failures().len(), 3);
}

/// A service that can be sent to another thread, and not shared with it.
#[derive(Clone, Debug)]
struct NotSync(Player, Cell<u32>);

impl Service<Request<Body>> for NotSync {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Frames>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.1.set(self.1.get() + 1);
        self.0.call(request)
    }
}

#[tokio::test]
async fn service_that_is_not_sync_runs_on_any_thread() {
    let unavailable = || Response::builder().status(503).body(Frames::new([])).unwrap();
    let player = Player::new([unavailable(), unavailable()]);
    for name in STACKS {
        let service = stack(name, NotSync(player.clone(), Cell::new(0)));
        tokio::spawn(async move { service.oneshot(get()).await.unwrap() }).await.unwrap();
        assert!(player.calls() > 0, "{name}");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the inner service's own error")]
struct Own(#[source] Broken);

#[tokio::test(start_paused = true)]
async fn errors_pass_unchanged() {
    let fails = service_fn(|_: Request<Body>| {
        ready(Err::<Response<Body>, BoxError>(Own(Broken("cause".into())).into()))
    });
    for name in STACKS {
        let error = soon(name, stack(name, fails).oneshot(get())).await.unwrap_err();
        let own = error.downcast_ref::<Own>().unwrap_or_else(|| panic!("{name}: {error:?}"));
        assert!(own.source().unwrap().is::<Broken>(), "{name}");
    }
    // The error type is that of the inner service.
    let typed = service_fn(|_: Request<Body>| {
        ready(Err::<Response<Body>, Own>(Own(Broken("typed".into()))))
    });
    let recorder = Recorder::new();
    let stack = ErrorDedupLayer::new(recorder.clone()).layer(fused(&recorder).layer(typed));
    let error: Own = stack.oneshot(get()).await.unwrap_err();
    assert_eq!(error.0, Broken("typed".into()));
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers
}

/// Bodies, and whether they end with an error.
fn bodies() -> Vec<Vec<Beat>> {
    let data = |text: &'static str| Beat::Data(Bytes::from_static(text.as_bytes()));
    let error = || Beat::Error("cut off".into());
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(30));
    vec![
        vec![],
        vec![data(r#"{"error":{"code":"bad"}}"#)],
        vec![data(r#"{"error":"#), Beat::Pause(short), data(r#"{"code":"bad"}}"#)],
        vec![data("{"), Beat::Pause(long), data("}"), Beat::Trailers(trailers())],
        vec![data(""), data("{}"), Beat::Trailers(trailers())],
        vec![Beat::Trailers(trailers())],
        vec![data(r#"{"error":"#), error()],
        vec![data("{"), Beat::Pause(long), error()],
        vec![error()],
        vec![
            Beat::Data(Bytes::from(vec![b'x'; 200 * 1024])),
            data("end"),
            Beat::Trailers(trailers()),
        ],
        (0..200).map(|_| Beat::Data(Bytes::from(vec![b'y'; 1024]))).chain([error()]).collect(),
    ]
}

/// The content of a body, without pauses and frame boundaries.
#[derive(Debug, Default, PartialEq)]
struct Content {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    error: Option<String>,
}

fn content(beats: &[Beat]) -> Content {
    let mut content = Content::default();
    for beat in beats {
        match beat {
            Beat::Data(data) => content.data.extend_from_slice(data),
            Beat::Trailers(trailers) => content.trailers = Some(trailers.clone()),
            Beat::Error(text) => content.error = Some(text.clone()),
            Beat::Pause(_) => {}
        }
    }
    content
}

#[tokio::test(start_paused = true)]
async fn body_passes_whole_after_a_read_of_its_beginning() {
    for beats in bodies() {
        // The body of a success is not read, that of a 400 with JSON is.
        for status in [200, 400] {
            let answer = || {
                Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .body(Frames::new(beats.clone()))
                    .unwrap()
            };
            for name in STACKS {
                let service = stack(name, Player::new([answer()]));
                let answer = soon(name, service.oneshot(get())).await.unwrap();
                assert_eq!(answer.status(), status, "{name}");
                let (frames, error) = soon(name, drain(answer.into_body())).await;
                let mut seen = Content::default();
                for frame in frames {
                    match frame.into_data() {
                        Ok(data) => seen.data.extend_from_slice(&data),
                        Err(frame) => seen.trailers = frame.into_trailers().ok(),
                    }
                }
                seen.error = error.map(|error| error.downcast::<Broken>().unwrap().0);
                assert_eq!(seen, content(&beats), "{name}, {status}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn head_with_a_slow_error_body_waits_only_for_the_read_limit() {
    let slow = || {
        let beats = [Beat::Pause(Duration::from_secs(30)), Beat::Data(Bytes::from_static(b"{}"))];
        Response::builder()
            .status(400)
            .header("content-type", "application/json")
            .body(Frames::new(beats))
            .unwrap()
    };
    let recorder = Recorder::new();
    for limit in [Duration::from_secs(2), Duration::from_millis(300)] {
        let layer = FailoverLayer::builder()
            .retry(policy())
            .reporter(recorder.clone())
            .error_body(64 * 1024, limit)
            .build()
            .unwrap();
        let started = tokio::time::Instant::now();
        let answer = layer.layer(Player::new([slow()])).oneshot(get()).await.unwrap();
        assert_eq!((answer.status().as_u16(), started.elapsed()), (400, limit));
        let (frames, _) = drain(answer.into_body()).await;
        assert_eq!((frames.len(), started.elapsed()), (1, Duration::from_secs(30)));
    }
}

/// An extension that can be used once.
#[derive(Clone, Debug)]
struct Handle;

type Extensions = Arc<Mutex<Vec<(bool, bool, bool)>>>;

/// A service that always answers 503, and records the extensions of each attempt.
fn recording(
    seen: &Extensions,
) -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = BoxError,
    Future = Ready<Result<Response<Body>, BoxError>>,
> + Clone
+ Send
+ 'static {
    let seen = seen.clone();
    service_fn(move |request: Request<Body>| {
        let carried = request.extensions();
        seen.lock().unwrap().push((
            carried.get::<Handle>().is_some(),
            carried.get::<Mark>().is_some(),
            carried.get::<hyper::upgrade::OnUpgrade>().is_some(),
        ));
        ready(Ok(Response::builder().status(503).body(Body::default()).unwrap()))
    })
}

#[tokio::test(start_paused = true)]
async fn single_use_extensions_go_with_the_first_attempt_only() {
    let recorder = Recorder::new();
    let request = || {
        let mut request = get();
        let upgrade = hyper::upgrade::on(Request::new(()));
        request.extensions_mut().insert(Handle);
        request.extensions_mut().insert(Mark(7));
        request.extensions_mut().insert(upgrade);
        request
    };
    // An upgrade handle is on the list by default, with feature `hyper`.
    let hyper = !cfg!(feature = "hyper");
    for listed in [true, false] {
        let seen = Extensions::default();
        let mut builder = FailoverLayer::builder().retry(policy()).reporter(recorder.clone());
        let mut retry = RetryLayer::new(policy());
        if listed {
            builder = builder.first_attempt_only::<Handle>();
            retry = retry.first_attempt_only::<Handle>();
        }
        let stacks = [
            ("fused", boxed(builder.build().unwrap().layer(recording(&seen)))),
            ("retry", boxed(retry.layer(recording(&seen)))),
        ];
        for (name, service) in stacks {
            seen.lock().unwrap().clear();
            service.oneshot(request()).await.unwrap();
            let again = (!listed, true, hyper);
            assert_eq!(*seen.lock().unwrap(), [(true, true, true), again, again], "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_call_is_dropped_below_as_well() {
    let upstream = Upstream::default().otherwise(Step::status(200).after(Duration::from_secs(10)));
    let mut dropped = 0;
    for name in STACKS {
        let service = stack(name, upstream.clone());
        let mut call = Box::pin(service.clone().oneshot(get()));
        assert!(tokio::time::timeout(Duration::from_secs(1), call.as_mut()).await.is_err());
        drop(call);
        dropped += 1;
        assert_eq!(upstream.dropped(), dropped, "{name}");
        assert_eq!(service.oneshot(get()).await.unwrap().status(), 200, "{name}");
    }
}

/// A service that counts its clones.
#[derive(Debug)]
struct Counted(Upstream, Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.1.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone(), self.1.clone())
    }
}

impl Service<Request<Body>> for Counted {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = support::upstream::Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn local_answer_clones_no_service() {
    let clones = Arc::new(AtomicUsize::new(0));
    let accounts = pool(&["a", "b"], &Recorder::new());
    let layer = TokenRotationLayer::new(accounts.clone());
    let mut service = layer.layer(Counted(Upstream::default(), clones.clone()));
    let applied = clones.load(Ordering::Relaxed);
    poll_until_ready(&mut service).await.unwrap();
    assert!(accounts.retire("a") && accounts.retire("b"));
    // The pool died after the service below was ready, and before.
    for _ in 0..2 {
        assert_eq!(service.call(get()).await.unwrap().status(), 401);
        poll_until_ready(&mut service).await.unwrap();
    }
    assert_eq!(clones.load(Ordering::Relaxed), applied);
}

#[tokio::test(start_paused = true)]
async fn send_once_service_serves_the_callers_own_credential_over_a_dead_pool() {
    let upstream = Upstream::default();
    let accounts = pool(&["a"], &Recorder::new());
    assert!(accounts.retire("a"));
    let layer = FailoverLayer::builder().rotation(accounts).send_once().build().unwrap();
    let mut service = layer.layer(Single(upstream.clone()));
    for (own, status) in [(true, 200), (false, 401), (true, 200)] {
        let mut request = get().map(|_| Once(Bytes::new()));
        if own {
            request.headers_mut().insert("authorization", "Bearer own".parse().unwrap());
        }
        let answer = soon("own", service.ready().await.unwrap().call(request)).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(upstream.tokens(), ["own", "own"]);
}

#[tokio::test(start_paused = true)]
async fn adapter_readiness_is_that_of_the_inner_service() {
    let upstream = Upstream::default();
    let mut service = FailureToErrLayer::new().layer(upstream.clone());
    upstream.busy(true);
    assert!(futures_util::FutureExt::now_or_never(poll_until_ready(&mut service)).is_none());
    upstream.busy(false);
    assert_eq!(service.ready().await.unwrap().call(get()).await.unwrap().status(), 200);
}
