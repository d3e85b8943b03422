//! The traits of the public types (threads, clones, objects), and the size of futures.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{
    convert::Infallible,
    fmt::Debug,
    future::Future,
    marker::PhantomData,
    mem::size_of,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use support::{Recorder, pool};
use tower::{Layer, Service};
use tower_failover::{
    Account, AuthShortCircuitLayer, BuildError, Cause, Classifier, Code, Credential,
    ErrorDedupLayer, Event, Failover, FailoverLayer, ModelChain, ModelFallbackLayer, Policy, Pool,
    Reporter, RequestOptions, RetryLayer, RetryPolicy, ServedBy, TokenRotationLayer, Verdict,
    adapter::{FailureToErr, FailureToErrFuture, FailureToErrLayer},
    answer::Problem,
    body::{Buffered, Cloned, FailoverBody, ReplayBody, SendOnce, TryCloned},
    classify::{FailureError, NonAuth},
    credential::CredentialError,
    dedup::ErrorDedup,
    failover::{FailoverBuilder, ResponseFuture},
    internals::{Gate, Rotation, Stages},
    pool::{PoolBuilder, PoolError, PoolView},
    report::{Attempt, ReporterHandle, RequestRecord},
    retry::{Backoff, Budget, Jitter, Retry, TokenBucket, WindowBudget},
    rotation::TokenRotation,
    short_circuit::AuthShortCircuit,
};

type Body = Full<Bytes>;

/// A service whose future has at least `N` bytes.
#[derive(Clone, Debug)]
struct Sized<const N: usize>;

struct Answer<const N: usize>([u8; N]);

impl<const N: usize> Future for Answer<N> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(Body::default())))
    }
}

impl<const N: usize, B> Service<Request<B>> for Sized<N> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<N>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Answer<N> {
        Answer([0; N])
    }
}

/// Returns the difference between the future of a layer and the inner one.
fn over<L, S>(_: &L, inner: &S) -> usize
where
    S: Service<Request<Body>> + Clone,
    L: Layer<S>,
    L::Service: Service<Request<Body>>,
{
    let _ = inner;
    size_of::<<L::Service as Service<Request<Body>>>::Future>() - size_of::<S::Future>()
}

/// A stack with all stages: models, accounts, retries, and reports.
fn everything() -> FailoverBuilder {
    let recorder = Recorder::new();
    FailoverLayer::builder()
        .models(ModelChain::list(["m1", "m2", "m3"]).unwrap())
        .rotation(pool(&["a"], &recorder))
        .retry(RetryPolicy::new())
        .reporter(recorder)
}

/// The most bytes that a layer may add to the inner future.
const MOST: usize = 400;

#[test]
fn layer_adds_at_most_400_bytes_to_the_inner_future() {
    let recorder = Recorder::new();
    let pool = pool(&["a"], &recorder);
    let fused = FailoverLayer::builder()
        .rotation(pool.clone())
        .retry(RetryPolicy::new())
        .reporter(recorder.clone())
        .build()
        .unwrap();
    let rotation = TokenRotationLayer::new(pool.clone());
    let gate = AuthShortCircuitLayer::with_pool(pool);
    let retry = RetryLayer::new(RetryPolicy::new());
    let dedup = ErrorDedupLayer::new(recorder);
    let models = ModelFallbackLayer::new(ModelChain::list(["m1", "m2"]).unwrap());
    let everything = everything();
    let all = everything.clone().build().unwrap();
    let all_buffered = everything.clone().buffered(1024).build().unwrap();
    let all_mapped = everything.buffered_as(1024, |body: ReplayBody<Body>| body).build().unwrap();
    let mut large = Vec::new();
    macro_rules! measure {
        ($($bytes:literal),*) => {$(
            for (layer, over) in [
                ("fused", over(&fused, &Sized::<$bytes>)),
                ("rotation", over(&rotation, &Sized::<$bytes>)),
                ("gate", over(&gate, &Sized::<$bytes>)),
                ("retry", over(&retry, &Sized::<$bytes>)),
                ("dedup", over(&dedup, &Sized::<$bytes>)),
                ("models", over(&models, &Sized::<$bytes>)),
                ("models, buffered", over(&models.clone().buffered(1024), &Sized::<$bytes>)),
                ("retry, buffered", over(&retry.clone().buffered(1024), &Sized::<$bytes>)),
                ("all", over(&all, &Sized::<$bytes>)),
                ("all, buffered", over(&all_buffered, &Sized::<$bytes>)),
                ("all, buffered as", over(&all_mapped, &Sized::<$bytes>)),
            ] {
                println!("{layer} over a future of {} bytes: {over}", $bytes);
                if over > MOST {
                    large.push((layer, $bytes, over));
                }
            }
        )*};
    }
    measure!(0, 16, 256, 2048);
    assert!(large.is_empty(), "more than {MOST} bytes over the inner future: {large:?}");
}

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send>() {}
fn cloned<T: Clone + Send + Sync + Debug + 'static>() {}
fn error<T: std::error::Error + Clone + Send + Sync + 'static>() {}

#[test]
fn public_handles_are_clone_send_and_sync() {
    cloned::<TokenRotationLayer>();
    cloned::<AuthShortCircuitLayer>();
    cloned::<RetryLayer>();
    cloned::<ErrorDedupLayer>();
    cloned::<FailoverLayer>();
    cloned::<FailoverLayer<SendOnce>>();
    cloned::<FailoverLayer<Buffered>>();
    cloned::<ModelFallbackLayer>();
    cloned::<ModelChain>();
    cloned::<Buffered>();
    cloned::<TryCloned<Body>>();
    cloned::<FailoverBuilder>();
    cloned::<FailureToErrLayer>();
    cloned::<TokenRotation<Sized<1>>>();
    cloned::<AuthShortCircuit<Sized<1>>>();
    cloned::<Retry<Sized<1>>>();
    cloned::<ErrorDedup<Sized<1>>>();
    cloned::<Failover<Sized<1>>>();
    cloned::<Failover<Sized<1>, SendOnce>>();
    cloned::<FailureToErr<Sized<1>>>();
    cloned::<Pool>();
    cloned::<PoolView>();
    cloned::<Account>();
    cloned::<Credential>();
    cloned::<RetryPolicy>();
    cloned::<Backoff>();
    cloned::<Jitter>();
    cloned::<RequestOptions>();
    cloned::<Classifier>();
    cloned::<Verdict>();
    cloned::<Cause>();
    cloned::<Code>();
    cloned::<ServedBy>();
    cloned::<Problem>();
    cloned::<Event>();
    cloned::<RequestRecord>();
    cloned::<Attempt>();
    cloned::<ReporterHandle>();
    cloned::<SendOnce>();
    cloned::<Cloned>();
    shared::<PoolBuilder>();
    shared::<TokenBucket>();
    shared::<WindowBudget>();
    #[cfg(feature = "tower")]
    shared::<tower_failover::retry::RetryWait>();
}

#[test]
fn public_errors_are_clone_send_and_sync() {
    error::<BuildError>();
    error::<PoolError>();
    error::<CredentialError>();
    error::<FailureError>();
    error::<tower_failover::retry::BackoffError>();
    error::<tower_failover::retry::BudgetError>();
}

#[test]
fn futures_and_bodies_are_send_and_sync_if_their_content_is() {
    shared::<ResponseFuture<Sized<1>, Stages, Cloned, Body, Body>>();
    shared::<ResponseFuture<Sized<1>, Rotation, Cloned, Body, Body>>();
    shared::<ResponseFuture<Sized<1>, Gate, SendOnce, Body, Body>>();
    shared::<ResponseFuture<Sized<1>, RetryPolicy, Cloned, Body, Body>>();
    shared::<ResponseFuture<Sized<1>, (), SendOnce, Body, Body>>();
    shared::<ResponseFuture<Sized<1>, Stages, Buffered, Body, Body>>();
    shared::<ReplayBody<Body>>();
    sent::<ReplayBody<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>>();
    shared::<FailureToErrFuture<Answer<1>>>();
    shared::<FailoverBody<Body>>();
    // A body and a client that are not `Sync` can still be sent to another thread.
    sent::<FailoverBody<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>>();
    sent::<Failover<NotSync>>();
    sent::<ResponseFuture<NotSync, Stages, Cloned, Body, Body>>();
}

/// A service that is not `Sync`.
#[derive(Clone, Debug)]
struct NotSync(PhantomData<std::cell::Cell<u8>>);

impl Service<Request<Body>> for NotSync {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<1>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Answer<1> {
        Answer([0])
    }
}

#[test]
fn public_traits_are_object_safe() {
    #[derive(Debug)]
    struct Free;
    impl Budget for Free {
        fn withdraw(&self, _: tower_failover::retry::Cost) -> Option<u32> {
            Some(0)
        }
        fn succeeded(&self, _: Option<u32>) {}
        fn refund(&self, _: u32) {}
    }
    let budget: Arc<dyn Budget> = Arc::new(Free);
    let _: RetryPolicy = RetryPolicy::new().budget(budget);
    let policy: Box<dyn Policy> = Box::new(|_: &NonAuth<'_>| None);
    let (head, ()) = Response::builder().status(404).body(()).unwrap().into_parts();
    let answer = NonAuth::try_new(&head, None).unwrap();
    assert_eq!(policy.answer(&answer), None);
    let recorder = Recorder::new();
    let reporter: Arc<dyn Reporter> = Arc::new(recorder.clone());
    let record = RequestRecord::new(
        http::Method::GET,
        "/",
        tower_failover::report::Outcome::Local(Code::PoolEmpty),
    );
    reporter.report(&Event::RequestFailed(record));
    assert_eq!(recorder.events().len(), 1);
}
