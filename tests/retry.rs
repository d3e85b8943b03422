//! Resending after transient failures, alone and under tower's own `Retry`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use support::{Recorder, Step, Upstream, boxed::boxed, get, pool, post, stack};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_failover::{
    ErrorDedupLayer, FailoverLayer, RequestOptions, RetryLayer, RetryPolicy, TokenRotationLayer,
    report::{Followed, NotResent, Outcome},
    retry::{Backoff, Budget, Cost, Jitter, TokenBucket, WindowBudget},
};

fn quick() -> RetryPolicy {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).unwrap();
    RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE))
}

#[tokio::test(start_paused = true)]
async fn transient_failure_is_resent_after_the_backoff() {
    let upstream = Upstream::statuses(&[503, 503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(upstream.waits(), [Duration::from_millis(100), Duration::from_millis(200)]);
}

#[tokio::test(start_paused = true)]
async fn newest_answer_is_returned_when_retries_are_used_up() {
    let upstream = Upstream::statuses(&[500, 502, 504, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::GATEWAY_TIMEOUT, 3));
}

#[tokio::test(start_paused = true)]
async fn request_with_a_401_is_sent_once_under_any_policy() {
    for method in [get, post] {
        let upstream = Upstream::statuses(&[401, 200]);
        let service = RetryLayer::new(quick().retries(9)).layer(upstream.clone());
        let request = method();
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!((answer.status(), upstream.calls()), (StatusCode::UNAUTHORIZED, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn perhaps_done_post_is_resent_only_with_a_key_or_on_request() {
    let recorder = Recorder::new();
    let upstream = Upstream::statuses(&[500]);
    let service = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(RetryLayer::new(quick()))
        .service(upstream.clone());
    let answer = service.clone().oneshot(post()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (500, 1));
    let failure = &recorder.failures()[0];
    assert_eq!(failure.trail[0].followed, Followed::NotResent(NotResent::PerhapsDone));

    // Refused, with a key, or declared repeatable: three reasons to resend.
    let mut keyed = post();
    keyed.headers_mut().insert("idempotency-key", "k".parse().unwrap());
    let mut promised = post();
    promised.extensions_mut().insert(RequestOptions::new().repeatable());
    for (request, status) in [(post(), 503), (keyed, 500), (promised, 500)] {
        let upstream = Upstream::statuses(&[status]);
        let service = RetryLayer::new(quick()).layer(upstream.clone());
        let answer = service.oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn failed_request_is_one_report_with_all_its_attempts() {
    for fused in [false, true] {
        let recorder = Recorder::new();
        let upstream =
            Upstream::script([Step::status(503), Step::error("connect"), Step::status(500)]);
        let mut request = get();
        request.headers_mut().insert("x-request-id", "r-1".parse().unwrap());
        request.extensions_mut().insert(RequestOptions::new().label("poll"));
        let status = if fused {
            let layer =
                FailoverLayer::builder().retry(quick()).reporter(recorder.clone()).build().unwrap();
            layer.layer(upstream.clone()).oneshot(request).await.unwrap().status()
        } else {
            let service = ServiceBuilder::new()
                .layer(ErrorDedupLayer::new(recorder.clone()))
                .layer(RetryLayer::new(quick()))
                .service(upstream.clone());
            service.oneshot(request).await.unwrap().status()
        };
        assert_eq!(status, 500);
        let failures = recorder.failures();
        assert_eq!((failures.len(), recorder.events().len()), (1, 1), "fused: {fused}");
        let failure = &failures[0];
        assert_eq!(failure.outcome, Outcome::Answer(StatusCode::INTERNAL_SERVER_ERROR));
        assert_eq!((failure.method.as_str(), &*failure.path), ("GET", "/videos/42"));
        assert_eq!(failure.request_id.as_deref(), Some("r-1"));
        assert_eq!(failure.label.as_deref(), Some("poll"));
        assert_eq!(failure.elapsed, Duration::from_millis(300));
        let followed: Vec<_> = failure.trail.iter().map(|attempt| attempt.followed).collect();
        assert_eq!(
            followed,
            [
                Followed::Retried(Duration::from_millis(100)),
                Followed::Retried(Duration::from_millis(200)),
                Followed::NotResent(NotResent::Retries),
            ]
        );
        assert_eq!(failure.trail[1].error.as_deref(), Some("connection refused"));
    }
}

#[tokio::test(start_paused = true)]
async fn long_delay_of_a_server_is_neither_shortened_nor_waited_for() {
    let long = Step::answer(503, &[("retry-after", "6")], "");
    let upstream = Upstream::script([long.clone()]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
    assert_eq!(upstream.calls(), 1);

    let upstream = Upstream::script([long]);
    let policy = quick().max_wait(Duration::from_secs(6));
    let service = RetryLayer::new(policy).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.waits(), [Duration::from_secs(6)]);
}

#[tokio::test(start_paused = true)]
async fn deadline_forbids_attempts_and_cuts_none() {
    let slow = Step::status(503).after(Duration::from_secs(59));
    let upstream = Upstream::script([slow.clone(), slow.clone(), slow]);
    let service = RetryLayer::new(quick().retries(5)).layer(upstream.clone());
    let started = tokio::time::Instant::now();
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 503);
    assert_eq!(upstream.calls(), 2);
    assert_eq!(started.elapsed(), Duration::from_millis(118_100));
}

#[tokio::test(start_paused = true)]
async fn budget_is_shared_and_paid_back_by_success() {
    let bucket = Arc::new(TokenBucket::new(10));
    let policy = quick().budget(bucket.clone());
    let upstream = Upstream::default().otherwise(Step::status(503));
    let service = RetryLayer::new(policy.clone()).layer(upstream.clone());
    let (a, b) = (service.clone().oneshot(get()), service.clone().oneshot(get()));
    let _ = tokio::join!(a, b);
    assert_eq!((upstream.calls(), bucket.tokens()), (4, 0));
    let upstream = Upstream::default();
    RetryLayer::new(policy).layer(upstream).oneshot(get()).await.unwrap();
    assert_eq!(bucket.tokens(), 1);
}

#[tokio::test(start_paused = true)]
async fn tower_retry_takes_the_policy_and_never_repeats_a_401() {
    let upstream = Upstream::statuses(&[503, 401, 200]);
    let mut service = tower::retry::RetryLayer::new(quick().retries(9)).layer(upstream.clone());
    let answer = service.ready().await.unwrap().call(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (401, 2));
}

#[test]
fn retry_outside_a_runtime_neither_waits_nor_panics() {
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = support::upstream::now(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 1));

    // Without a wait, no timer is needed.
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick().backoff(Backoff::none())).layer(upstream.clone());
    let answer = support::upstream::now(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
}

#[test]
fn runtime_without_a_timer_does_not_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let upstream = Upstream::statuses(&[503, 200]);
    let service = RetryLayer::new(quick()).layer(upstream.clone());
    let answer = runtime.block_on(service.oneshot(get())).unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn request_without_retry_is_sent_once() {
    let single = || {
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().label("poll").no_retry());
        request
    };
    for fused in [true, false] {
        let recorder = Recorder::new();
        let upstream = Upstream::default().otherwise(Step::status(503));
        let status = if fused {
            let layer = FailoverLayer::builder().retry(quick()).reporter(recorder.clone());
            layer.build().unwrap().layer(upstream.clone()).oneshot(single()).await.unwrap().status()
        } else {
            let service = ServiceBuilder::new()
                .layer(ErrorDedupLayer::new(recorder.clone()))
                .layer(RetryLayer::new(quick()))
                .service(upstream.clone());
            service.oneshot(single()).await.unwrap().status()
        };
        assert_eq!((status.as_u16(), upstream.calls()), (503, 1), "fused: {fused}");
        let failure = &recorder.failures()[0];
        assert_eq!(failure.trail[0].followed, Followed::NotResent(NotResent::OptedOut));
        assert_eq!(failure.label.as_deref(), Some("poll"));
    }
    let upstream = Upstream::statuses(&[503]);
    let mut service = tower::retry::RetryLayer::new(quick()).layer(upstream.clone());
    let answer = service.ready().await.unwrap().call(single()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn attempt_may_start_at_the_deadline_and_not_later() {
    for (deadline, calls) in [(100, 2), (99, 1)] {
        let upstream = Upstream::statuses(&[503]);
        let layer = RetryLayer::new(quick()).deadline(Duration::from_millis(deadline));
        layer.layer(upstream.clone()).oneshot(get()).await.unwrap();
        assert_eq!(upstream.calls(), calls, "{deadline} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_cost_depends_on_its_reason() {
    let limited = Step::answer(429, &[("retry-after", "1")], "");
    for (step, price) in [(Step::status(503), 5), (Step::error("timeout"), 20), (limited, 50)] {
        let bucket = TokenBucket::new(500).retry_cost(5).timeout_cost(20).limited_cost(50);
        let bucket: Arc<TokenBucket> = Arc::new(bucket);
        let upstream = Upstream::default().otherwise(step);
        let policy = quick().retries(1).budget(bucket.clone());
        let _ = RetryLayer::new(policy).layer(upstream.clone()).oneshot(get()).await;
        assert_eq!((upstream.calls(), bucket.tokens()), (2, 500 - price));
    }
}

#[tokio::test(start_paused = true)]
async fn policy_can_be_limited_to_idempotent_requests() {
    for (only, posted) in [(false, 2), (true, 1)] {
        for (request, calls) in [(get(), 2), (post(), posted)] {
            let upstream = Upstream::default().otherwise(Step::status(503));
            let policy = quick().retries(1).idempotent_only(only);
            RetryLayer::new(policy).layer(upstream.clone()).oneshot(request).await.unwrap();
            assert_eq!(upstream.calls(), calls, "{only}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dyn_budget_is_charged_and_leaves_the_backoff_unchanged() {
    let bucket = Arc::new(TokenBucket::new(500));
    let budget: Arc<dyn Budget> = bucket.clone();
    let upstream = Upstream::default().otherwise(Step::status(503));
    let policy = quick().retries(1).budget(budget);
    RetryLayer::new(policy).layer(upstream.clone()).oneshot(get()).await.unwrap();
    assert_eq!((upstream.calls(), bucket.tokens()), (2, 495));
    assert_eq!(upstream.waits(), [Duration::from_millis(100)]);
}

#[tokio::test(start_paused = true)]
async fn window_budget_grows_with_successes_and_refunds_a_dropped_retry() {
    // A success is worth 1.999 retries.
    let window = Arc::new(WindowBudget::new(Duration::from_secs(10), 1.999, 0).unwrap());
    let policy = quick().retries(1).budget(window.clone());
    let upstream = Upstream::statuses(&[503]);
    let service = RetryLayer::new(policy).layer(upstream.clone());
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 503);
    assert_eq!((upstream.calls(), window.balance()), (1, 0));
    assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(window.balance(), 1);
    upstream.push([Step::status(503)]);
    let call = tokio::time::timeout(Duration::from_millis(50), service.oneshot(get()));
    assert!(call.await.is_err());
    // To the thousandth: one retry is available again, and not yet two.
    assert_eq!((upstream.calls(), window.balance()), (3, 1));
    assert_eq!((window.withdraw(Cost::Retry), window.withdraw(Cost::Retry)), (Some(1), None));
}

#[test]
fn backoff_none_waits_for_zero() {
    assert_eq!(Backoff::none(), Backoff::new(Duration::ZERO, Duration::ZERO).unwrap());
}

#[tokio::test(start_paused = true)]
async fn request_that_cannot_be_resent_is_not_kept() {
    let seen = Arc::new(AtomicUsize::new(0));
    let counts = seen.clone();
    let inner = service_fn(move |request: Request<stack::Body>| {
        let mark = request.extensions().get::<Arc<()>>().unwrap();
        counts.store(Arc::strong_count(mark), Ordering::Relaxed);
        async { Ok::<_, BoxError>(Response::new(stack::Body::default())) }
    });
    let pool = |ids| pool(ids, &Recorder::new());
    let fused = |ids| FailoverLayer::builder().rotation(pool(ids)).build().unwrap();
    for (service, kept) in [
        (boxed(RetryLayer::new(quick().retries(0)).layer(inner.clone())), 0),
        (boxed(RetryLayer::new(quick().retries(1)).layer(inner.clone())), 1),
        (boxed(TokenRotationLayer::new(pool(&["a"])).layer(inner.clone())), 0),
        (boxed(TokenRotationLayer::new(pool(&["a", "b"])).layer(inner.clone())), 1),
        (boxed(fused(&["a"]).layer(inner.clone())), 0),
        (boxed(fused(&["a", "b"]).layer(inner)), 1),
    ] {
        let mut request = get();
        let mark = Arc::new(());
        request.extensions_mut().insert(mark.clone());
        service.oneshot(request).await.unwrap();
        // In addition to those of the caller and of the request.
        assert_eq!(seen.load(Ordering::Relaxed) - 2, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn tower_retry_waits_for_the_backoff_of_the_policy() {
    let upstream = Upstream::statuses(&[503, 503, 200]);
    let service = tower::retry::RetryLayer::new(quick()).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(upstream.waits(), [Duration::from_millis(100), Duration::from_millis(200)]);
}

#[tokio::test(start_paused = true)]
async fn tower_retry_does_not_repeat_a_local_answer() {
    let accounts = pool(&["a"], &Recorder::new());
    assert!(accounts.cool_down("a", None, Duration::from_secs(1)));
    let answers = Arc::new(AtomicUsize::new(0));
    let count = answers.clone();
    let rotation = TokenRotationLayer::new(accounts).local_answer(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    let service = tower::retry::RetryLayer::new(quick().retries(9))
        .layer(rotation.layer(Upstream::default()));
    let answer = service.oneshot(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), answers.load(Ordering::Relaxed)), (429, 1));
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_retries_of_simultaneous_failures() {
    fastrand::seed(7);
    for fused in [false, true] {
        let mut waits = Vec::new();
        for _ in 0..20 {
            let upstream = Upstream::statuses(&[503]);
            let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5)).unwrap();
            let policy = RetryPolicy::new().backoff(backoff);
            let status = if fused {
                let layer = FailoverLayer::builder().retry(policy).build().unwrap();
                layer.layer(upstream.clone()).oneshot(get()).await.unwrap().status()
            } else {
                let service = RetryLayer::new(policy).layer(upstream.clone());
                service.oneshot(get()).await.unwrap().status()
            };
            assert_eq!(status, 200);
            waits.extend(upstream.waits());
        }
        // Full jitter: any wait up to the whole backoff.
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)), "{waits:?}");
        let (low, high) = (Duration::from_millis(300), Duration::from_millis(700));
        assert!(waits.iter().any(|wait| *wait < low), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > high), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn timer_may_be_two_milliseconds_late_for_the_deadline() {
    let deadline = Duration::from_millis(100);
    for (late, status, calls) in [(0, 200, 2), (2, 200, 2), (3, 504, 1)] {
        let upstream = Upstream::statuses(&[503]);
        // The wait ends with the deadline.
        let service = RetryLayer::new(quick()).deadline(deadline).layer(upstream.clone());
        let mut call = Box::pin(service.oneshot(get()));
        assert!(call.as_mut().now_or_never().is_none());
        tokio::time::advance(deadline + Duration::from_millis(late)).await;
        let answer = call.await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (status, calls), "{late} ms late");
    }
}
