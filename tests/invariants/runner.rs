//! Runs a world through a stack of layers.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_failover::{Cause, Event, Pool, ServedBy, failure, report::ReporterHandle};

use super::{
    request_body::TestBody,
    script::ListPolicy,
    stack::{Layer, Parts, TestService},
    support::{Recorder, upstream::Mark},
    upstream::{Sent, TestUpstream},
    world::{ModelPlace, RequestPlan, Round, World, model_of},
};

/// The outcome of a request for the caller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    Answer {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        cause: Option<Cause>,
        served: Option<ServedBy>,
    },
    Error(String),
    Dropped,
}

/// Returns the debug text without wall clock times, which the tests do not control.
pub(crate) fn timeless(seen: &impl std::fmt::Debug) -> String {
    let mut text = format!("{seen:?}");
    let times = [
        ("SystemTime {", '}'),
        (r#"expired_at\":\""#, 'Z'),
        (r#"expired_seconds_ago\":"#, ','),
        ("ClockSkew { late: ", 's'),
    ];
    for (before, end) in times {
        let mut parts = text.split(before);
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            plain.push_str(before);
            plain.push_str(&part[part.find(end).unwrap_or_default()..]);
        }
        text = plain;
    }
    text
}

/// A running world and stack, with everything that the checks inspect.
pub(crate) struct Runner<'w> {
    pub(crate) world: &'w World,
    pub(crate) upstream: TestUpstream,
    pub(crate) pools: Vec<Pool>,
    pub(crate) recorder: Recorder,
    pub(crate) policy: ListPolicy,
    pub(crate) service: TestService,
    pub(crate) ends: BTreeMap<u32, Ended>,
    /// The start and end of each request.
    pub(crate) times: BTreeMap<u32, (Instant, Instant)>,
    next: u32,
}

/// Runs a future on its own runtime with paused time.
pub(crate) fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// A future that drops another one after some polls.
pub(crate) struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: Option<u32>,
    polled: u32,
}

impl<F> DropAfter<F> {
    pub(crate) fn new(future: F, polls: Option<u32>) -> Self {
        Self { future: Some(Box::pin(future)), polls, polled: 0 }
    }
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls != Some(0) {
            self.polled += 1;
            assert!(self.polled < 2_000, "it is woken for nothing, again and again");
            let polled = self.future.as_mut().map(|future| future.as_mut().poll(cx));
            if let Some(Poll::Ready(output)) = polled {
                self.future = None;
                return Poll::Ready(Some(output));
            }
            self.polls = self.polls.map(|polls| polls - 1);
        }
        if self.polls == Some(0) {
            self.future = None;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// Builds the request with this number, as the caller sends it.
pub(crate) fn request(id: u32, plan: &RequestPlan) -> Request<TestBody> {
    let named = |at: ModelPlace| plan.named.filter(|_| plan.at == at).map(model_of);
    let query = named(ModelPlace::Query).map(|model| format!("model={model}&")).unwrap_or_default();
    let uri = format!("https://api.example.com/videos/{id}?{query}q={id}");
    let text = body(id, plan);
    let mut request = Request::builder()
        .method(if plan.post { "POST" } else { "GET" })
        .uri(uri)
        .header("x-test-id", id)
        .header("x-request-id", format!("r-{id}"))
        .header("accept", "a")
        .header("accept", "b")
        .header("x-org-1", "mine")
        .header("x-strip", "s");
    if let Some(model) = named(ModelPlace::Header) {
        request = request.header("x-model", model);
    }
    if plan.length && plan.shape.known {
        request = request.header("content-length", text.len()).header("content-digest", "sha");
    }
    if plan.keyed {
        request = request.header("idempotency-key", format!("k-{id}"));
    }
    if plan.own {
        request = request.header("authorization", format!("Bearer own-{}", id % 2));
    }
    if plan.grpc {
        request = request.header("content-type", "application/grpc");
    }
    let body = TestBody::new(&text, plan.shape);
    request.extension(Mark(id)).extension(plan.options()).body(body).unwrap()
}

/// Returns the text of the request's body.
pub(crate) fn body(id: u32, plan: &RequestPlan) -> String {
    match plan.named.filter(|_| plan.at == ModelPlace::Json) {
        Some(model) => body_for(id, model_of(model)),
        None => format!("body of {id}"),
    }
}

/// Returns a body that names this model.
pub(crate) fn body_for(id: u32, model: &str) -> String {
    format!(r#"{{ "model":"{model}", "n" : 1.0e2,"prompt":"body of {id}","n":2}}"#)
}

/// Sends one request and waits at most three days for the complete answer.
pub(crate) async fn send(
    service: TestService,
    request: Request<TestBody>,
    polls: Option<u32>,
) -> Ended {
    let whole = async {
        match service.oneshot(request).await {
            Ok(answer) => {
                let cause = failure(&answer).copied();
                let served = answer.extensions().get::<ServedBy>().cloned();
                let (head, body) = answer.into_parts();
                let Ok(body) = body.collect().await;
                let body = body.to_bytes();
                Ended::Answer { status: head.status, headers: head.headers, body, cause, served }
            }
            Err(error) => Ended::Error(error.to_string()),
        }
    };
    let days = Duration::from_secs(3 * 86_400);
    match tokio::time::timeout(days, DropAfter::new(whole, polls)).await {
        Ok(Some(ended)) => ended,
        Ok(None) | Err(_) => Ended::Dropped,
    }
}

impl<'w> Runner<'w> {
    pub(crate) fn new(world: &'w World, layers: &[Layer]) -> Self {
        let recorder = Recorder::new();
        Self::with_reporter(world, layers, recorder.clone(), ReporterHandle::new(recorder))
    }

    /// Builds a runner whose layers report to `reporter`.
    pub(crate) fn with_reporter(
        world: &'w World,
        layers: &[Layer],
        recorder: Recorder,
        reporter: ReporterHandle,
    ) -> Self {
        let innermost = layers.iter().rev().find_map(|layer| layer.rotates()).unwrap_or(0);
        let policy = ListPolicy::new(world.opinions.clone());
        // Random choices are the same each time.
        fastrand::seed(world.plan.seed);
        let upstream = TestUpstream::new(world.pools.clone(), policy.clone(), innermost);
        let pools = world.pools(&recorder, &upstream);
        upstream.set_pools(pools.clone());
        let classifier = policy.classifier();
        let parts = Parts { world, pools: &pools, classifier, reporter };
        let service = parts.build(layers, &upstream);
        let (ends, times) = (BTreeMap::new(), BTreeMap::new());
        Self { world, upstream, pools, recorder, policy, service, ends, times, next: 1 }
    }

    /// Sends one request now.
    pub(crate) async fn one(&mut self, plan: &RequestPlan) -> Ended {
        let id = self.next;
        self.next += 1;
        self.upstream.expect(id, plan.script.clone());
        let since = Instant::now();
        let ended = send(self.service.clone(), request(id, plan), plan.polls).await;
        self.times.insert(id, (since, Instant::now()));
        self.ends.insert(id, ended.clone());
        ended
    }

    /// Sends the requests of a round.
    pub(crate) async fn round(&mut self, round: &Round) {
        let mut sends = Vec::new();
        for plan in &round.requests {
            let id = self.next;
            self.next += 1;
            self.upstream.expect(id, plan.script.clone());
            let service = self.service.clone();
            sends.push(async move {
                tokio::time::sleep(Duration::from_millis(plan.after)).await;
                let since = Instant::now();
                let ended = send(service, request(id, plan), plan.polls).await;
                (id, ended, (since, Instant::now()))
            });
        }
        let (world, pool, upstream) = (self.world, &self.pools[0], &self.upstream);
        let changes = round.changes.iter().map(|(after, at, change)| async move {
            tokio::time::sleep(Duration::from_millis(*after)).await;
            let at = at % world.pools[0].len();
            upstream.notify_watch();
            let generation = pool.view().accounts[at].generation;
            upstream.sources(|log| log.by_hand = true);
            change.make(pool, &world.pools[0][at], at);
            upstream.sources(|log| log.by_hand = false);
            upstream.changed(at, generation, *change);
        });
        let changes = futures_util::future::join_all(changes);
        let (ended, _) = tokio::join!(futures_util::future::join_all(sends), changes);
        for (id, ended, times) in ended {
            self.ends.insert(id, ended);
            self.times.insert(id, times);
        }
        self.pass(Duration::from_millis(round.gap)).await;
    }

    /// Lets time pass: step by step if sources are called meanwhile, otherwise at once.
    pub(crate) async fn pass(&self, time: Duration) {
        if self.world.tokens_change() {
            tokio::time::sleep(time).await;
        } else {
            tokio::time::advance(time).await;
        }
    }

    /// Plays all rounds of the world.
    pub(crate) async fn play(&mut self) {
        for round in &self.world.rounds {
            self.round(round).await;
        }
        // The worker of a buffer drops its finished requests.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    /// Returns the attempts of one request.
    pub(crate) fn attempts(&self, id: u32) -> Vec<Sent> {
        let mut log = self.upstream.log();
        log.retain(|sent| sent.id == id);
        log
    }

    /// Returns the reports of one request.
    pub(crate) fn reports(&self, id: u32) -> Vec<Event> {
        let name = format!("r-{id}");
        let mut events = self.recorder.events();
        events.retain(|event| {
            event.record().is_some_and(|record| record.request_id.as_deref() == Some(&name))
        });
        events
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        self.upstream.set_pools(Vec::new());
    }
}

/// Plays a world through a stack and inspects the result.
pub(crate) fn played<R>(world: &World, layers: &[Layer], look: impl FnOnce(&Runner<'_>) -> R) -> R {
    paused(async {
        let mut runner = Runner::new(world, layers);
        runner.play().await;
        look(&runner)
    })
}
