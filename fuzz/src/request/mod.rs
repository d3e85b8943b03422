//! Whole requests through the fused stack, over an upstream that the fuzzer's bytes script.
//!
//! 1. I1: after a rejection no attempt is sent with that credential: none of the same request, and
//!    none of any other during its quarantine, except one probe.
//! 2. I2: one report for each failed request, none for a success, each failed attempt in one trail;
//!    one incident for each rejected credential.
//! 3. I3: attempts and rejections are bounded.
//! 4. The caller gets the newest answer, complete; no event contains a token; nothing stays in flight.

mod check;
mod script;
mod upstream;

use std::{
    collections::BTreeMap,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Credential, FailoverLayer, ModelChain, Pool, RequestOptions, RetryPolicy,
    pool::Cascade, retry::TokenBucket, short_circuit::AuthFailureMode,
};

use self::{
    check::Ended,
    script::{RequestPlan, World},
    upstream::{Changed, Recorder, TestUpstream},
};

/// # Panics
///
/// If an invariant is violated.
pub fn run(bytes: &[u8]) {
    let Ok(world) = World::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(play(&world));
}

async fn play(world: &World<'_>) {
    let recorder = Recorder::default();
    let pool = pool(world, &recorder);
    let upstream = TestUpstream::new(world, &pool);
    let service = layer(world, &pool, &recorder).layer(upstream.clone());

    let mut ends = BTreeMap::new();
    for round in world.rounds() {
        let sends = round.iter().map(|(id, request_plan)| {
            let (service, upstream) = (service.clone(), upstream.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(request_plan.after.into())).await;
                if let Some(account) = request_plan.replaces {
                    replace(world, &upstream, account);
                }
                let started = tokio::time::Instant::now();
                let sent = DropAfter::new(
                    service.oneshot(request(*id, request_plan)),
                    request_plan.polls(),
                );
                // Only an upstream that never answers takes a day.
                let sent = tokio::time::timeout(Duration::from_secs(86_400), sent).await;
                let ended = match sent.ok().flatten() {
                    None => Ended::Dropped,
                    Some(Err(_)) => Ended::Error,
                    Some(Ok(answer)) => {
                        let (head, body) = answer.into_parts();
                        Ended::Answer(head, body.collect().await.map(|all| all.to_bytes()).ok())
                    }
                };
                (*id, started, ended)
            }
        });
        for (id, started, ended) in futures_util::future::join_all(sends).await {
            ends.insert(id, (started, ended));
        }
        tokio::time::advance(Duration::from_secs(world.gap())).await;
    }
    check::all(world, &pool, &upstream, &recorder.events(), &ends);
}

fn pool(world: &World<'_>, recorder: &Recorder) -> Pool {
    let accounts = (0..world.accounts()).map(|at| {
        let account = Account::new(script::id_of(at), credential(at, 1));
        if world.groups >> at & 1 == 1 { account.group("one") } else { account }
    });
    let cascade = [Cascade::SameGroup, Cascade::All, Cascade::Never];
    Pool::builder()
        .accounts(accounts)
        .any_origin()
        .cascade(cascade[usize::from(world.cascade) % 3])
        .reporter(recorder.clone())
        .build()
        .expect("a pool")
}

fn credential(account: usize, generation: u64) -> Credential {
    Credential::bearer(script::token_of(account, generation)).expect("a token")
}

fn layer(world: &World<'_>, pool: &Pool, recorder: &Recorder) -> FailoverLayer {
    let retry = RetryPolicy::new().retries(world.retries());
    let retry = match world.bucket {
        Some(tokens) => retry.budget(TokenBucket::new(u32::from(tokens) % 16)),
        None => retry,
    };
    let mode = if world.replace { AuthFailureMode::Replace } else { AuthFailureMode::Passthrough };
    let mut builder = FailoverLayer::builder()
        .rotation(pool.clone())
        .retry(retry)
        .attempts(at_least_one(world.attempts()))
        .max_refusals(at_least_one(world.max_refusals()))
        .rotate_forbidden(world.forbidden)
        .auth_failure(mode)
        .reporter(recorder.clone());
    if world.models {
        builder = builder.models(ModelChain::list(["m0", "m1", "m2"]).expect("a chain"));
    }
    builder.build().expect("a layer")
}

fn replace(world: &World<'_>, upstream: &TestUpstream, account: u8) {
    let account = usize::from(account) % world.accounts();
    upstream.change(|pool| {
        let generation = pool.view().accounts[account].generation;
        let next = pool.replace(&script::id_of(account), credential(account, generation + 1));
        assert_eq!(next.expect("it is there"), generation + 1);
        Changed { account, generation }
    });
}

fn at_least_one(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN)
}

fn request(id: u32, request_plan: &RequestPlan<'_>) -> Request<Full<Bytes>> {
    let mut options = RequestOptions::new();
    if let Some(attempts) = request_plan.attempts {
        options = options.attempts(at_least_one(u32::from(attempts % 5) + 1));
    }
    if request_plan.repeatable {
        options = options.repeatable();
    }
    if let Some(account) = request_plan.pin {
        options = options.pin(script::id_of(usize::from(account % 6)));
    }
    let body = match request_plan.body {
        Some(body) => Bytes::copy_from_slice(body),
        None => Bytes::from_static(br#"{"model":"m0","prompt":"a cat"}"#),
    };
    Request::builder()
        .method(if request_plan.post { "POST" } else { "GET" })
        .uri("https://api.example.com/videos")
        .header("x-request-id", format!("r-{id}"))
        .extension(options)
        .body(Full::from(body))
        .expect("a request")
}

/// Drops a future after a number of polls.
struct DropAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: Option<u8>,
}

impl<F> DropAfter<F> {
    fn new(future: F, polls: Option<u8>) -> Self {
        Self { future: Some(Box::pin(future)), polls }
    }
}

impl<F: Future> Future for DropAfter<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls != Some(0) {
            if let Some(Poll::Ready(output)) = self.future.as_mut().map(|it| it.as_mut().poll(cx)) {
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
