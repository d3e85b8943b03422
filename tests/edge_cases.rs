//! Edge cases: budgets, bodies, heads, readiness, faults in foreign code, extreme settings, secrets, late timers.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, header::HeaderValue};
use http_body::{Body, Frame};
use http_body_util::Full;
use support::{Recorder, Step, Upstream, get, limit, pool, stack};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};
use tower_failover::{
    Classifier, Code, ErrorDedupLayer, FailoverLayer, Pool, RequestOptions, RetryLayer,
    RetryPolicy, TokenRotationLayer,
    body::ReplayBody,
    classify::Answer,
    failure,
    pool::Selection,
    retry::{Backoff, Jitter, TokenBucket},
};

fn quick() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
    RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE))
}

// --- the budget

#[tokio::test(start_paused = true)]
async fn retry_dropped_while_it_waits_costs_nothing() {
    let bucket = Arc::new(TokenBucket::new(500));
    let upstream = Upstream::statuses(&[503]);
    let service = RetryLayer::new(quick().budget(bucket.clone())).layer(upstream);
    let mut call = Box::pin(service.oneshot(get()));
    let pending = poll_fn(|cx| Poll::Ready(call.poll_unpin(cx).is_pending())).await;
    assert!(pending);
    assert_eq!(bucket.tokens(), 495);
    drop(call);
    assert_eq!(bucket.tokens(), 500);
}

#[test]
fn retry_without_a_timer_costs_nothing() {
    let bucket = Arc::new(TokenBucket::new(500));
    let upstream = Upstream::statuses(&[503, 503, 503]);
    let service = RetryLayer::new(quick().budget(bucket.clone())).layer(upstream);
    let answer = service.oneshot(get()).now_or_never().unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), bucket.tokens()), (503, 500));
}

#[tokio::test(start_paused = true)]
async fn retry_that_was_sent_is_charged_although_it_is_dropped() {
    let bucket = Arc::new(TokenBucket::new(500));
    let upstream = Upstream::script([Step::status(503), Step::hang()]);
    let service = RetryLayer::new(quick().budget(bucket.clone())).layer(upstream);
    let call = tokio::time::timeout(Duration::from_secs(1), service.oneshot(get()));
    assert!(call.await.is_err());
    assert_eq!(bucket.tokens(), 495);
}

// --- revived accounts

#[tokio::test(start_paused = true)]
async fn revived_account_serves_at_once_beside_any_credential() {
    let recorder = Recorder::new();
    let pool = pool(&["a"], &recorder);
    let upstream = Upstream::statuses(&[401, 200]);
    let layer = FailoverLayer::builder().rotation(pool.clone()).any_credential().build().unwrap();
    let service = layer.layer(upstream.clone());
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 401);
    assert!(pool.revive("a"));
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.calls(), 2);
}

// --- bodies

struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        thread_local!(static LEFT: std::cell::Cell<u32> = const { std::cell::Cell::new(3_000_000) });
        LEFT.set(LEFT.get() - 1);
        assert!(LEFT.get() > 0, "read without end");
        Poll::Ready(Some(Ok(Frame::data(Bytes::new()))))
    }
}

#[tokio::test(start_paused = true)]
async fn error_body_of_endless_empty_frames_is_read_in_part() {
    let inner = service_fn(|_: Request<Full<Bytes>>| async {
        let answer = Response::builder().status(429).header("content-type", "application/json");
        Ok::<_, Infallible>(answer.body(Endless).unwrap())
    });
    let layer = RetryLayer::new(quick().retries(0));
    let answer = layer.layer(inner).oneshot(get()).now_or_never().unwrap().unwrap();
    assert_eq!(answer.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn request_body_of_endless_empty_frames_is_sent_and_not_kept() {
    let inner = service_fn(|_: Request<_>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = RetryLayer::new(quick()).buffered(1024);
    let service = layer.layer(inner);
    let answer = service.oneshot(Request::new(Endless)).now_or_never().unwrap().unwrap();
    assert_eq!(answer.status(), 200);
}

// --- heads

#[tokio::test(start_paused = true)]
async fn head_with_very_many_values_is_resent() {
    let upstream = Upstream::statuses(&[503, 200]);
    let mut request = get();
    for _ in 0..30_000 {
        request.headers_mut().append("x-many", HeaderValue::from_static("v"));
    }
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(upstream.sent()[1].headers.len(), 30_000);
}

#[tokio::test(start_paused = true)]
async fn head_of_any_size_is_resent_unchanged() {
    for length in [1, 1023, 1024, 1025, 5000, 60_000] {
        let upstream = Upstream::statuses(&[503, 200]);
        let mut request = get();
        *request.method_mut() = "M".repeat(length).parse().unwrap();
        *request.uri_mut() = format!("/{}", "u".repeat(length)).parse().unwrap();
        let value = HeaderValue::try_from("v".repeat(length)).unwrap();
        request.headers_mut().insert("x-long", value.clone());
        let service = RetryLayer::new(quick()).layer(upstream.clone());
        assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
        let sent = upstream.sent();
        let heads = sent.iter().map(|sent| (&sent.method, &sent.uri, &sent.headers["x-long"]));
        let heads: Vec<_> = heads.collect();
        assert_eq!(heads[0], heads[1]);
        assert_eq!((heads[0].0.as_str().len(), heads[0].2), (length, &value));
    }
}

#[tokio::test(start_paused = true)]
async fn opaque_header_value_is_resent_unchanged() {
    let upstream = Upstream::statuses(&[503, 200]);
    let mut request = get();
    let value = HeaderValue::from_bytes(b"\xff\xfe caf\xe9").unwrap();
    request.headers_mut().insert("x-opaque", value.clone());
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
    assert_eq!(upstream.sent()[1].headers["x-opaque"], value);
}

#[tokio::test(start_paused = true)]
async fn opaque_idempotency_key_permits_a_retry() {
    for fused in [false, true] {
        let upstream = Upstream::statuses(&[500, 200]);
        let mut request = support::post();
        let key = HeaderValue::from_bytes(b"\xff-1").unwrap();
        request.headers_mut().insert("idempotency-key", key);
        let status = if fused {
            let layer = FailoverLayer::builder().retry(quick()).build().unwrap();
            layer.layer(upstream.clone()).oneshot(request).await.unwrap().status()
        } else {
            let service = RetryLayer::new(quick()).layer(upstream.clone());
            service.oneshot(request).await.unwrap().status()
        };
        assert_eq!((status.as_u16(), upstream.calls()), (200, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn request_to_another_origin_gets_no_credential() {
    let recorder = Recorder::new();
    let pool = Pool::builder()
        .account(stack::account("a"))
        .origins(["https://api.example.com"])
        .reporter(recorder.clone())
        .build()
        .unwrap();
    let upstream = Upstream::default();
    let service = TokenRotationLayer::new(pool).layer(upstream.clone());
    for uri in
        ["evil.example:443", "https://api.example.com@evil.example/", "http://api.example.com/"]
    {
        let mut request = get();
        *request.uri_mut() = uri.parse().unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        assert!(failure(&answer).is_some(), "{uri}");
    }
    assert_eq!(upstream.calls(), 0);
}

// --- readiness

#[tokio::test(start_paused = true)]
async fn permit_from_before_the_pool_died_serves_the_next_call() {
    let recorder = Recorder::new();
    let pool = pool(&["a"], &recorder);
    let upstream = Upstream::default();
    let mut service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(upstream.clone());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    pool.retire("a");
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let mut request = get();
    request.headers_mut().insert("authorization", "Bearer the-callers-own".parse().unwrap());
    let call = tokio::time::timeout(Duration::from_secs(1), service.call(request)).await;
    assert_eq!(call.expect("a deadlock").unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn permit_left_by_a_local_answer_serves_the_next_call() {
    let pool = pool(&["a"], &Recorder::new());
    let mut service = ServiceBuilder::new()
        .layer(TokenRotationLayer::new(pool.clone()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(Upstream::default());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    pool.retire("a");
    assert!(failure(&service.call(get()).await.unwrap()).is_some());
    poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let mut request = get();
    request.headers_mut().insert("authorization", "Bearer the-callers-own".parse().unwrap());
    let call = tokio::time::timeout(Duration::from_secs(1), service.call(request)).await;
    assert_eq!(call.expect("a deadlock").unwrap().status(), 200);
}

// --- faults in the code of others

struct Mute;

impl fmt::Debug for Mute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mute")
    }
}

impl fmt::Display for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Err(fmt::Error)
    }
}

impl std::error::Error for Mute {}

#[tokio::test(start_paused = true)]
async fn error_whose_display_fails_is_reported() {
    let recorder = Recorder::new();
    let inner = service_fn(|_: Request<Full<Bytes>>| async {
        Err::<Response<Full<Bytes>>, tower::BoxError>(Box::new(Mute))
    });
    let layer = FailoverLayer::builder().retry(quick().retries(0)).reporter(recorder.clone());
    let service = layer.build().unwrap().layer(inner);
    assert!(service.oneshot(get()).await.is_err());
    assert_eq!(recorder.failures().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn service_that_panics_releases_its_probe_and_its_count() {
    let recorder = Recorder::new();
    let pool =
        stack::builder(&["a"], &recorder).selection(Selection::LeastInFlight).build().unwrap();
    let upstream = Upstream::statuses(&[401]);
    let layer = TokenRotationLayer::new(pool.clone());
    assert_eq!(layer.layer(upstream).oneshot(get()).await.unwrap().status(), 401);
    tokio::time::sleep(Duration::from_secs(301)).await;
    let inner = service_fn(
        |_: Request<Full<Bytes>>| -> std::future::Ready<Result<Response<Full<Bytes>>, Infallible>> {
            panic!("on purpose")
        },
    );
    let mut service = layer.layer(inner);
    let call = AssertUnwindSafe(|| service.call(get()));
    assert!(catch_unwind(call).is_err());
    let view = pool.view();
    assert_eq!(view.accounts[0].in_flight, 0);
    let upstream = Upstream::default();
    assert_eq!(layer.layer(upstream).oneshot(get()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn rule_that_panics_releases_the_probe() {
    let recorder = Recorder::new();
    let pool = pool(&["a"], &recorder);
    let upstream = Upstream::statuses(&[401, 500, 200]);
    let layer = TokenRotationLayer::new(pool);
    assert_eq!(layer.clone().layer(upstream.clone()).oneshot(get()).await.unwrap().status(), 401);
    tokio::time::sleep(Duration::from_secs(301)).await;
    let broken = Classifier::default().also_unauthorized(|answer: &Answer<'_>| {
        assert_ne!(answer.status(), 500, "on purpose");
        None
    });
    let service = layer.clone().classifier(broken).layer(upstream.clone());
    assert!(AssertUnwindSafe(service.oneshot(get())).catch_unwind().await.is_err());
    assert_eq!(layer.layer(upstream).oneshot(get()).await.unwrap().status(), 200);
}

// --- extremes

#[tokio::test(start_paused = true)]
async fn largest_settings_neither_panic_nor_wait_forever() {
    for delay in ["18446744073709551615", "99999999999999999999", "9223372036854775807"] {
        let answer = || Step::answer(429, &[("retry-after", delay)], "");
        let recorder = Recorder::new();
        let pool = stack::builder(&["a", "b"], &recorder).max_rest(Duration::MAX).build().unwrap();
        let upstream = Upstream::script([answer(), answer(), answer()]);
        let policy = RetryPolicy::new()
            .retries(u32::MAX)
            .max_wait(Duration::MAX)
            .budget(tower_failover::retry::Unlimited);
        let layer = FailoverLayer::builder()
            .rotation(pool.clone())
            .retry(policy)
            .attempts(limit(u32::MAX))
            .max_refusals(limit(u32::MAX))
            .deadline(Duration::from_secs(3600))
            .reporter(recorder.clone())
            .build()
            .unwrap();
        let mut request = get();
        request
            .extensions_mut()
            .insert(RequestOptions::new().attempts(limit(u32::MAX)).deadline(Duration::MAX));
        let call = layer.layer(upstream.clone()).oneshot(request);
        let answer = tokio::time::timeout(Duration::from_secs(7200), call).await.unwrap().unwrap();
        assert!(matches!(answer.status().as_u16(), 200 | 429));
    }
}

// --- secrets

#[tokio::test(start_paused = true)]
async fn report_outside_a_rotation_holds_no_secret_of_its_pool() {
    let recorder = Recorder::new();
    let pool = pool(&["alice-and-her-long-token"], &recorder);
    let upstream = Upstream::script([Step::play(support::upstream::Play::EchoError)]);
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(TokenRotationLayer::new(pool))
        .service(upstream);
    assert!(service.oneshot(get()).await.is_err());
    let reported = format!("{:?}", recorder.events());
    assert_eq!(recorder.failures().len(), 1, "{reported}");
    assert!(!reported.contains("tok-alice-and-her-long-token"), "{reported}");
}

#[tokio::test(start_paused = true)]
async fn retry_inside_a_rotation_puts_no_secret_into_any_report() {
    let echo = || Step::play(support::upstream::Play::EchoError);
    for steps in [vec![echo(), echo(), echo()], vec![echo()], vec![echo(), Step::hang()]] {
        let recorder = Recorder::new();
        let pool = pool(&["alice-and-her-long-token"], &recorder);
        let service = ServiceBuilder::new()
            .layer(ErrorDedupLayer::new(recorder.clone()).report_recovered(true))
            .layer(TokenRotationLayer::new(pool))
            .layer(RetryLayer::new(quick()))
            .service(Upstream::script(steps));
        let _ = tokio::time::timeout(Duration::from_secs(9), service.oneshot(get())).await;
        let reported = format!("{:?}", recorder.events());
        assert_eq!(recorder.events().len(), 1, "{reported}");
        assert!(!reported.contains("tok-alice-and-her-long-token"), "{reported}");
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_forbids_an_attempt_after_a_busy_service() {
    let upstream = Upstream::statuses(&[503, 200]);
    let layer = FailoverLayer::builder().retry(quick()).deadline(Duration::from_secs(10));
    let mut service = layer.build().unwrap().layer(upstream.clone());
    let mut call = Box::pin(service.ready().await.unwrap().call(get()));
    upstream.busy(true);
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut call).await.is_err());
    upstream.busy(false);
    let answer = call.await.unwrap();
    assert_eq!((upstream.calls(), answer.status().as_u16()), (1, 504));
}

// --- time that passes before an attempt

/// A service whose clones take ten seconds to be ready.
struct SlowClones {
    inner: Upstream,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Clone for SlowClones {
    fn clone(&self) -> Self {
        let wait = tokio::time::sleep(Duration::from_secs(10));
        Self { inner: self.inner.clone(), wait: Some(Box::pin(wait)) }
    }
}

impl Service<Request<stack::Body>> for SlowClones {
    type Response = Response<stack::Body>;
    type Error = tower::BoxError;
    type Future = <Upstream as Service<Request<stack::Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        if let Some(wait) = &mut self.wait {
            std::task::ready!(wait.as_mut().poll(cx));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<stack::Body>) -> Self::Future {
        self.inner.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn deadline_forbids_an_attempt_after_slow_readiness() {
    let upstream = Upstream::statuses(&[401]);
    let inner = SlowClones { inner: upstream.clone(), wait: None };
    // Another account is tried at once, without any other wait.
    let layer = TokenRotationLayer::new(pool(&["a", "b"], &Recorder::new()));
    let layer = layer.deadline(Duration::from_secs(5));
    let answer = layer.layer(inner).oneshot(get()).await.unwrap();
    assert_eq!(failure(&answer).unwrap().code, Code::DeadlineExceeded);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn deadline_forbids_an_attempt_after_a_late_timer() {
    let upstream = Upstream::statuses(&[503]);
    let layer = RetryLayer::new(quick()).deadline(Duration::from_secs(5));
    let mut future = Box::pin(layer.layer(upstream.clone()).oneshot(get()));
    assert!(future.as_mut().now_or_never().is_none());
    tokio::time::advance(Duration::from_secs(10)).await;
    let answer = future.await.unwrap();
    assert_eq!(failure(&answer).unwrap().code, Code::DeadlineExceeded);
    assert_eq!(upstream.calls(), 1);
}

/// A body of five bytes that arrives after five seconds.
struct Late(Option<Pin<Box<tokio::time::Sleep>>>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(wait) = &mut self.0 else { return Poll::Ready(None) };
        std::task::ready!(wait.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(if self.0.is_some() { 5 } else { 0 })
    }
}

#[tokio::test(start_paused = true)]
async fn account_whose_cooldown_ends_during_an_upload_serves() {
    let pool = pool(&["a", "b"], &Recorder::new());
    for id in ["a", "b"] {
        assert!(pool.cool_down(id, None, Duration::from_secs(3)));
    }
    let inner = service_fn(|_: Request<ReplayBody<Late>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = FailoverLayer::builder().rotation(pool).buffered(1024).build().unwrap();
    let late = Late(Some(Box::pin(tokio::time::sleep(Duration::from_secs(5)))));
    let request = Request::post("https://api.example.com/videos").body(late).unwrap();
    let answer = layer.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn rejection_of_an_account_lasts_for_the_request_despite_a_revival() {
    for fused in [true, false] {
        let pool = pool(&["a", "b"], &Recorder::new());
        let wait = Step::answer(503, &[("retry-after", "1")], "");
        let upstream =
            Upstream::default().token("tok-a", [Step::status(401)]).token("tok-b", [wait]);
        let service = if fused {
            let builder = FailoverLayer::builder().rotation(pool.clone()).retry(quick());
            support::boxed::boxed(builder.build().unwrap().layer(upstream.clone()))
        } else {
            let rotation = TokenRotationLayer::new(pool.clone()).layer(upstream.clone());
            support::boxed::boxed(RetryLayer::new(quick()).layer(rotation))
        };
        let (answer, ()) = tokio::join!(service.oneshot(get()), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(pool.revive("a"));
        });
        assert_eq!(answer.unwrap().status(), 200, "{fused}");
        assert_eq!(upstream.tokens(), ["tok-a", "tok-b", "tok-b"], "{fused}");
    }
}
