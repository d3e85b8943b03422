//! A drop at every poll of every future: counts in flight, probes and retry tokens are correct
//! afterwards, nothing is reported twice, and the next request works.
//!
//! Each scenario is run once to count its polls, and then once for each of them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use support::{
    Recorder,
    boxed::Any,
    frames::{Beat, Frames},
    stack,
};
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, limit::ConcurrencyLimit, util::BoxCloneService};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, Event, FailoverLayer, ModelChain, ModelFallbackLayer,
    Pool, Reason, RetryLayer, RetryPolicy, TokenRotationLayer,
    pool::{Selection, State},
    retry::{Backoff, Jitter, TokenBucket},
};

/// A body that may arrive late.
type Load = Pin<Box<Frames>>;
type Svc = BoxCloneService<Request<Load>, Response<Any>, BoxError>;

/// The reaction of the upstream to an attempt, always with a delay.
#[derive(Clone, Debug)]
struct Step {
    /// `None`: the connection is refused.
    status: Option<u16>,
    body: Vec<Beat>,
    /// The body contains the verdict.
    peeked: bool,
    then: Then,
}

/// The step after a failed attempt of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    End,
    Rotation,
    Retry,
    Fallback,
}

fn piece(text: &str) -> [Beat; 2] {
    [Beat::Data(Bytes::copy_from_slice(text.as_bytes())), Beat::Pause(Duration::from_millis(5))]
}

fn pieces(text: &str) -> Vec<Beat> {
    let (start, end) = text.split_at(text.len() / 2);
    [piece(start), piece(end)].concat()
}

const fn step(status: u16, then: Then) -> Step {
    Step { status: Some(status), body: Vec::new(), peeked: false, then }
}

fn peeked(status: u16, body: &str, then: Then) -> Step {
    Step { status: Some(status), body: pieces(body), peeked: true, then }
}

fn fine() -> Step {
    Step { body: pieces("an answer in pieces"), ..step(200, Then::End) }
}

/// A recorded attempt.
#[derive(Clone, Debug)]
struct Sent {
    step: Step,
    /// Whether its head, or its error, was returned.
    answered: bool,
    /// Whether its body was read to the end.
    read: bool,
}

impl Sent {
    /// Whether its verdict is known.
    const fn judged(&self) -> bool {
        self.answered && (self.read || !self.step.peeked)
    }
}

#[derive(Debug, Default)]
struct Inner {
    script: VecDeque<Step>,
    sent: Vec<Sent>,
    /// Response futures and bodies that exist.
    open: usize,
}

/// An upstream that is ready at the second poll, reads the whole request, waits, and answers.
#[derive(Debug, Default)]
struct Upstream {
    inner: Arc<Mutex<Inner>>,
    ready_polls: u32,
}

impl Clone for Upstream {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), ready_polls: 0 }
    }
}

impl Upstream {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

/// A part of the upstream that is counted while it exists.
struct Open(Arc<Mutex<Inner>>);

impl Open {
    fn new(inner: &Arc<Mutex<Inner>>) -> Self {
        inner.lock().unwrap().open += 1;
        Self(Arc::clone(inner))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lock().unwrap().open -= 1;
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<Answered>;
    type Error = BoxError;
    type Future = Answering<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready_polls += 1;
        if self.ready_polls == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering<B> {
        assert!(self.ready_polls > 1, "called without being polled ready");
        self.ready_polls = 0;
        let mut inner = self.lock();
        let step = inner.script.pop_front().unwrap_or_else(fine);
        let number = inner.sent.len();
        inner.sent.push(Sent { step, answered: false, read: false });
        drop(inner);
        let open = Open::new(&self.inner);
        let nap = Box::pin(sleep(Duration::from_millis(10)));
        Answering { number, request: Some(Box::pin(request.into_body())), nap, open: Some(open) }
    }
}

/// The future of an attempt.
struct Answering<B> {
    number: usize,
    request: Option<Pin<Box<B>>>,
    nap: Pin<Box<Sleep>>,
    open: Option<Open>,
}

impl<B: HttpBody<Data = Bytes>> Future for Answering<B>
where
    B::Error: std::fmt::Debug,
{
    type Output = Result<Response<Answered>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(body) = &mut self.request {
            match ready!(body.as_mut().poll_frame(cx)) {
                Some(frame) => drop(frame.unwrap()),
                None => self.request = None,
            }
        }
        ready!(self.nap.as_mut().poll(cx));
        let open = self.open.take().expect("polled after the end");
        let step = {
            let mut inner = open.0.lock().unwrap();
            let sent = &mut inner.sent[self.number];
            sent.answered = true;
            sent.step.clone()
        };
        let Some(status) = step.status else {
            let refused = std::io::ErrorKind::ConnectionRefused;
            return Poll::Ready(Err(std::io::Error::from(refused).into()));
        };
        let frames = Box::pin(Frames::new(step.body));
        let body = Answered { number: self.number, frames, open };
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert("content-type", json);
        Poll::Ready(Ok(answer))
    }
}

/// The body of an answer.
struct Answered {
    number: usize,
    frames: Load,
    open: Open,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.frames.as_mut().poll_frame(cx));
        if frame.is_none() {
            self.open.0.lock().unwrap().sent[self.number].read = true;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}

/// One request, and its expected result.
struct Scenario {
    name: &'static str,
    /// The accounts; the first ones are due for a probe.
    accounts: &'static [&'static str],
    due: usize,
    request: Vec<Beat>,
    script: Vec<Step>,
    /// The number of attempts, and the result.
    attempts: usize,
    status: u16,
}

fn scenario(name: &'static str, script: Vec<Step>, attempts: usize, status: u16) -> Scenario {
    let request = vec![Beat::Data(Bytes::from_static(br#"{"model":"m0","prompt":"a cat"}"#))];
    Scenario { name, accounts: &["a", "b", "c"], due: 0, request, script, attempts, status }
}

const INVALID_KEY: &str = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","details":[{"reason":"API_KEY_INVALID"}]}}"#;
const NO_MODEL: &str = r#"{"error":{"code":"model_not_found","message":"no such model"}}"#;

fn scenarios() -> Vec<Scenario> {
    use Then::{End, Fallback, Retry, Rotation};
    let rejected = || step(401, Rotation);
    let down = || step(503, Retry);
    let awaited = || pieces(r#"{"model":"m0","prompt":"a cat that takes its time"}"#);
    let connect = Step { status: None, ..down() };
    vec![
        scenario("a success", vec![fine()], 1, 200),
        scenario("an invalid request", vec![step(422, End)], 1, 422),
        scenario("a rotation", vec![rejected(), fine()], 2, 200),
        scenario("two rotations", vec![rejected(), rejected(), fine()], 3, 200),
        scenario("the last account rejected", vec![rejected(), rejected(), step(401, End)], 3, 401),
        scenario("two retries", vec![down(), down(), fine()], 3, 200),
        scenario("retries, and then none", vec![down(), down(), step(404, End)], 3, 404),
        scenario("a connection refused", vec![connect, fine()], 2, 200),
        scenario("a retry, a rotation", vec![down(), rejected(), fine()], 3, 200),
        scenario("a rejection in pieces", vec![peeked(400, INVALID_KEY, Rotation), fine()], 2, 200),
        scenario("an error in pieces", vec![peeked(400, r#"{"error":{"code":"x"}}"#, End)], 1, 400),
        scenario("a model in pieces", vec![peeked(404, NO_MODEL, Fallback), fine()], 2, 200),
        scenario("a fallback", vec![step(529, Fallback), fine()], 2, 200),
        scenario("retry, fallback", vec![down(), step(529, Fallback), down(), fine()], 4, 200),
        Scenario { request: awaited(), ..scenario("a request in pieces", vec![fine()], 1, 200) },
        Scenario {
            request: awaited(),
            ..scenario("a request in pieces, again", vec![rejected(), down(), fine()], 3, 200)
        },
        Scenario {
            accounts: &["a"],
            due: 1,
            ..scenario("a probe that heals", vec![fine()], 1, 200)
        },
        Scenario {
            accounts: &["a"],
            due: 1,
            request: awaited(),
            // A retry does not wait for a probe: another model is used at once.
            ..scenario("a probe that fails, and heals", vec![step(503, Fallback), fine()], 2, 200)
        },
        Scenario {
            accounts: &["a", "b"],
            due: 2,
            ..scenario("a probe that is rejected", vec![rejected(), fine()], 2, 200)
        },
    ]
}

const CAPACITY: u32 = 100;
/// Larger than any body in this file.
const CAP: usize = 1024;

/// A stack over the upstream, with all state that a drop could leave incorrect.
struct Bench {
    pool: Pool,
    recorder: Recorder,
    bucket: Arc<TokenBucket>,
    permits: Arc<Semaphore>,
    upstream: Upstream,
    service: Svc,
}

fn boxed<S, RB>(service: S) -> Svc
where
    S: Service<Request<Load>, Response = Response<RB>, Error = BoxError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    RB: HttpBody<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError> + Send,
{
    BoxCloneService::new(service.map_response(|answer: Response<RB>| {
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }))
}

impl Bench {
    async fn new(scenario: &Scenario, fused: bool) -> Self {
        let recorder = Recorder::new();
        let pool = stack::builder(scenario.accounts, &recorder)
            .selection(Selection::LeastInFlight)
            .build()
            .unwrap();
        for id in &scenario.accounts[..scenario.due] {
            pool.invalidate(id, Reason::Invalid);
        }
        tokio::time::advance(Duration::from_secs(301)).await;
        recorder.clear();
        let bucket = Arc::new(TokenBucket::new(CAPACITY));
        let permits = Arc::new(Semaphore::new(1));
        let upstream = Upstream::default();
        upstream.lock().script = scenario.script.clone().into();
        let inner = ConcurrencyLimit::with_semaphore(upstream.clone(), Arc::clone(&permits));
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1)).unwrap();
        let retry =
            RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE)).budget(Arc::clone(&bucket));
        let chain = || ModelChain::list(["m0", "m1"]).unwrap();
        let service = if fused {
            let layer = FailoverLayer::builder()
                .rotation(pool.clone())
                .retry(retry)
                .models(chain())
                .reporter(recorder.clone())
                .buffered(CAP)
                .build()
                .unwrap();
            boxed(layer.layer(inner))
        } else {
            let gate = AuthShortCircuitLayer::with_pool(pool.clone()).layer(inner);
            let rotation = TokenRotationLayer::new(pool.clone()).buffered(CAP).layer(gate);
            // As the builder does for a chain.
            let retry = RetryLayer::new(retry.overloaded(false)).buffered(CAP).layer(rotation);
            let fallback = ModelFallbackLayer::new(chain()).pool(pool.clone()).buffered(CAP);
            boxed(ErrorDedupLayer::new(recorder.clone()).layer(fallback.layer(retry)))
        };
        Self { pool, recorder, bucket, permits, upstream, service }
    }

    /// Sends the request of the scenario, and reads the whole answer. Returns `None` if it was dropped.
    async fn send(&self, scenario: &Scenario, polls: Option<usize>) -> (Option<StatusCode>, Run) {
        let length = scenario.request.iter().map(|beat| match beat {
            Beat::Data(data) => data.len() as u64,
            _ => 0,
        });
        let body = Frames::of_length(length.sum(), scenario.request.clone());
        let request = Request::post("https://api.example.com/videos")
            .header("x-request-id", "the-one")
            .body(Box::pin(body))
            .unwrap();
        let headed = Arc::new(Mutex::new(false));
        let (service, seen) = (self.service.clone(), Arc::clone(&headed));
        let whole = async move {
            let answer = service.oneshot(request).await.unwrap();
            *seen.lock().unwrap() = true;
            let status = answer.status();
            answer.into_body().collect().await.unwrap();
            status
        };
        let mut counted = Counted { future: Some(Box::pin(whole)), polls: 0, most: polls };
        let status = (&mut counted).await;
        let headed = *headed.lock().unwrap();
        (status, Run { polls: counted.polls, headed })
    }

    /// Returns the events of requests, without incidents.
    fn request_events(&self) -> Vec<Event> {
        let mut events = self.recorder.events();
        events.retain(|event| !event.is_incident());
        events
    }

    /// Returns the tokens that the attempts so far leave in the bucket: only a retry that was sent is
    /// charged; a success returns the cost of its last retry, or one.
    fn tokens(sent: &[Sent]) -> u64 {
        let (mut tokens, mut last) = (u64::from(CAPACITY), None);
        for (at, one) in sent.iter().enumerate() {
            if at > 0 {
                match sent[at - 1].step.then {
                    Then::Retry => {
                        tokens -= 5;
                        last = Some(5);
                    }
                    // A fallback forgets the last cost.
                    Then::Fallback => last = None,
                    Then::Rotation | Then::End => {}
                }
            }
            if one.answered && one.step.status == Some(200) {
                tokens = (tokens + last.unwrap_or(1)).min(CAPACITY.into());
            }
        }
        tokens
    }

    /// Checks the state that a drop could leave behind.
    fn check_state(&self, context: &str) {
        let inner = self.upstream.lock();
        assert_eq!(inner.open, 0, "{context}: a part of the upstream still exists");
        assert_eq!(self.permits.available_permits(), 1, "{context}: a permit is kept");
        for account in self.pool.view().accounts {
            assert_eq!(account.in_flight, 0, "{context}: {account:?}");
            assert_ne!(account.state, State::Probing, "{context}: {account:?}");
        }
        assert_eq!(self.bucket.tokens(), Self::tokens(&inner.sent), "{context}: {:?}", inner.sent);
    }
}

/// The result of a run.
#[derive(Debug)]
struct Run {
    polls: usize,
    /// Whether the head of the answer arrived.
    headed: bool,
}

/// Counts polls, and drops the future after the last of them.
struct Counted<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
    most: Option<usize>,
}

impl<F: Future> Future for &mut Counted<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.most == Some(self.polls) {
            self.future = None;
            return Poll::Ready(None);
        }
        self.polls += 1;
        let polled = self.future.as_mut().expect("polled after the end").as_mut().poll(cx);
        if let Poll::Ready(output) = polled {
            self.future = None;
            return Poll::Ready(Some(output));
        }
        if self.most == Some(self.polls) {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Runs a scenario to its end. Returns the number of polls, and the events.
fn undisturbed(scenario: &Scenario, fused: bool) -> (usize, Vec<&'static str>) {
    paused(async {
        let context = format!("{}, fused: {fused}", scenario.name);
        let bench = Bench::new(scenario, fused).await;
        let (status, run) = bench.send(scenario, None).await;
        assert_eq!(status.map(|status| status.as_u16()), Some(scenario.status), "{context}");
        assert_eq!(bench.upstream.lock().sent.len(), scenario.attempts, "{context}");
        bench.check_state(&context);
        let codes: Vec<_> = bench.request_events().iter().map(Event::code).collect();
        let failed = (scenario.status != 200).then_some("request_failed");
        assert_eq!(codes, failed.into_iter().collect::<Vec<_>>(), "{context}");
        // It waits at least for readiness and for the answer.
        assert!(run.polls > 2 * scenario.attempts, "{context}: {run:?}");
        (run.polls, codes)
    })
}

fn dropped(scenario: &Scenario, fused: bool, polls: usize, whole: &[&str]) {
    paused(async {
        let context = format!("{}, fused: {fused}, dropped after {polls} polls", scenario.name);
        let bench = Bench::new(scenario, fused).await;
        let (status, run) = bench.send(scenario, Some(polls)).await;
        assert_eq!((status, run.polls), (None, polls), "{context}");
        bench.check_state(&context);

        // The attempts so far are reported once.
        let codes: Vec<_> = bench.request_events().iter().map(Event::code).collect();
        let sent = bench.upstream.lock().sent.clone();
        let failed = |one: &Sent| one.judged() && one.step.status != Some(200);
        if run.headed {
            assert_eq!(codes, whole, "{context}");
        } else if sent.iter().any(failed) {
            assert_eq!(codes, ["request_abandoned"], "{context}");
        } else {
            assert!(codes.is_empty(), "{context}: {codes:?}");
        }

        // No rejection is lost, and none is reported twice; that of a probe is not a new one.
        let rejected = |one: &&Sent| {
            let rotated = one.step.then == Then::Rotation || one.step.status == Some(401);
            one.judged() && rotated && scenario.due == 0
        };
        let wanted = sent.iter().filter(rejected).count();
        assert_eq!(bench.recorder.incidents().len(), wanted, "{context}");

        next(scenario, &bench, &context).await;
    });
}

/// Checks that the next request works: it gets the account, or the probe, that was released.
async fn next(scenario: &Scenario, bench: &Bench, context: &str) {
    bench.upstream.lock().script.clear();
    // A rejected account recovers by itself.
    tokio::time::advance(Duration::from_secs(3601)).await;
    let before = bench.upstream.lock().sent.len();
    for _ in scenario.accounts {
        let (status, run) = bench.send(scenario, None).await;
        assert_eq!(status, Some(StatusCode::OK), "{context}: the next one, {run:?}");
    }
    assert_eq!(bench.upstream.lock().sent.len() - before, scenario.accounts.len(), "{context}");
    assert_eq!(bench.permits.available_permits(), 1, "{context}: after the next one");
    for account in bench.pool.view().accounts {
        assert_eq!(account.in_flight, 0, "{context}: {account:?}");
    }
}

fn every_poll(fused: bool) {
    for scenario in scenarios() {
        let (polls, codes) = undisturbed(&scenario, fused);
        for n in 0..polls {
            dropped(&scenario, fused, n, &codes);
        }
    }
}

#[test]
fn drop_at_any_poll_of_the_fused_stack_leaves_the_state_correct() {
    every_poll(true);
}

#[test]
fn drop_at_any_poll_of_the_stacked_layers_leaves_the_state_correct() {
    every_poll(false);
}
