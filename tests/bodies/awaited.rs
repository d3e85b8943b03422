//! Bodies that are awaited before they are sent.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::{sync::Semaphore, time::Instant};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer, Pool,
    Reason, RetryLayer, RetryPolicy, TokenRotationLayer,
    body::ReplayBody,
    pool::{Selection, State},
};

use crate::{
    body_plan::{Body, Plan, data, pause, paused},
    support::{
        Recorder,
        frames::Beat,
        pool,
        sink::{Read, Sink},
        stack,
    },
};

/// Builds a request whose body of known length arrives after a second.
fn slow(text: &str) -> Request<Body> {
    let (start, end) = text.split_at(text.len() / 2);
    let plan = Plan { beats: vec![data(start), pause(1), data(end)], known: true, missing: 0 };
    Request::post("https://api.example.com/videos").body(plan.body()).unwrap()
}

fn sink<B>(statuses: &[u16]) -> Sink<B> {
    Sink::script(statuses.iter().map(|status| (Read::All, *status)))
}

/// Returns the token of each attempt.
fn tokens<B>(sink: &Sink<B>) -> Vec<String> {
    let token = |head: &http::request::Parts| {
        let value = head.headers["authorization"].to_str().unwrap();
        value.trim_start_matches("Bearer ").to_owned()
    };
    sink.attempts().iter().map(|attempts| token(&attempts.head)).collect()
}

/// Returns whether a future is pending.
async fn waits<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[test]
fn body_is_awaited_only_if_its_length_is_known() {
    paused(async {
        for known in [true, false] {
            let sink = sink(&[503]);
            let beats = vec![data("a"), pause(1), data("b")];
            let plan = Plan { beats, known, missing: 0 };
            let request = Request::post("https://a.example/").body(plan.body()).unwrap();
            let start = Instant::now();
            let layer = RetryLayer::new(RetryPolicy::new()).buffered(10);
            let answer = layer.layer(sink.clone()).oneshot(request).await.unwrap();
            let attempts = sink.attempts();
            let after = Duration::from_secs(u64::from(known));
            assert_eq!(attempts[0].at - start, after);
            assert_eq!(
                (answer.status().as_u16(), attempts.len()),
                if known { (200, 2) } else { (503, 1) }
            );
            assert!(attempts.iter().all(|attempts| attempts.received.data == b"ab"));
        }
    });
}

#[test]
fn ready_service_waits_for_the_body_and_a_clone_replaces_it() {
    paused(async {
        let permits = Arc::new(Semaphore::new(2));
        let sink = sink::<ReplayBody<Body>>(&[]);
        let limited = ConcurrencyLimit::with_semaphore(sink.clone(), permits.clone());
        let mut service = RetryLayer::new(RetryPolicy::new()).buffered(100).layer(limited);
        // Each call takes the service that was polled ready, with its permit.
        let first = service.ready().await.unwrap().call(slow("first"));
        let second = service.ready().await.unwrap().call(slow("second"));
        assert_eq!(permits.available_permits(), 0);
        assert!(futures_util::FutureExt::now_or_never(service.ready()).is_none());
        let (first, second) = tokio::join!(first, second);
        assert_eq!(
            (first.unwrap().status(), second.unwrap().status()),
            (http::StatusCode::OK, http::StatusCode::OK)
        );
        // The sink panics if it is called without being polled ready.
        assert_eq!(sink.calls(), 2);
        drop(service);
        assert_eq!(permits.available_permits(), 2);
    });
}

#[test]
fn request_dropped_while_its_body_is_awaited_leaves_no_state() {
    paused(async {
        for fused in [true, false] {
            let recorder = Recorder::new();
            let accounts = stack::builder(&["a", "b"], &recorder)
                .selection(Selection::LeastInFlight)
                .build()
                .unwrap();
            // One account is due for a probe, the other is out for longer.
            accounts.invalidate("a", Reason::Invalid);
            tokio::time::advance(Duration::from_secs(250)).await;
            accounts.invalidate("b", Reason::Invalid);
            tokio::time::advance(Duration::from_secs(60)).await;
            recorder.clear();
            let permits = Arc::new(Semaphore::new(1));
            let sink = sink::<ReplayBody<Body>>(&[]);
            let limited = ConcurrencyLimit::with_semaphore(sink.clone(), permits.clone());
            let send = |request| {
                let (limited, accounts, recorder) =
                    (limited.clone(), accounts.clone(), recorder.clone());
                async move {
                    let answer = if fused {
                        let layer = FailoverLayer::builder().rotation(accounts).reporter(recorder);
                        let layer = layer.retry(RetryPolicy::new()).buffered(100).build().unwrap();
                        layer.layer(limited).oneshot(request).await.unwrap().map(|_| ())
                    } else {
                        let gate = AuthShortCircuitLayer::with_pool(accounts.clone());
                        let layer = TokenRotationLayer::new(accounts).buffered(100);
                        let layers =
                            ErrorDedupLayer::new(recorder).layer(layer.layer(gate.layer(limited)));
                        layers.oneshot(request).await.unwrap().map(|_| ())
                    };
                    answer.status().as_u16()
                }
            };
            {
                let mut dropped = pin!(send(slow("dropped")));
                assert!(waits(dropped.as_mut()).await);
                tokio::time::advance(Duration::from_millis(500)).await;
                assert!(waits(dropped.as_mut()).await);
            }
            assert_eq!((sink.calls(), permits.available_permits()), (0, 1), "fused: {fused}");
            assert!(recorder.events().is_empty(), "{:?}", recorder.codes());
            let view = accounts.view();
            assert!(view.accounts.iter().all(|account| account.in_flight == 0), "{view:?}");
            // The next request can be the probe.
            assert_eq!(send(slow("next")).await, 200);
            assert_eq!(tokens(&sink), ["tok-a"]);
            assert_eq!(accounts.view().accounts[0].state, State::Usable);
            assert_eq!(permits.available_permits(), 1);
        }
    });
}

#[test]
fn awaited_body_holds_no_probe() {
    paused(async {
        let recorder = Recorder::new();
        let accounts = pool(&["a"], &recorder);
        accounts.invalidate("a", Reason::Invalid);
        tokio::time::advance(Duration::from_secs(310)).await;
        let sink = sink::<ReplayBody<Body>>(&[]);
        let layer = FailoverLayer::builder().rotation(accounts.clone()).retry(RetryPolicy::new());
        let service = layer.buffered(100).build().unwrap().layer(sink.clone());
        let mut slowly = pin!(service.clone().oneshot(slow("slow")));
        assert!(waits(slowly.as_mut()).await);
        // A ready request does not wait for the upload of another.
        let ready = Plan { beats: vec![data("ready")], known: true, missing: 0 };
        let ready = Request::post("https://api.example.com/videos").body(ready.body()).unwrap();
        assert_eq!(service.oneshot(ready).await.unwrap().status(), 200);
        assert_eq!(accounts.view().accounts[0].state, State::Usable);
        assert_eq!(slowly.await.unwrap().status(), 200);
        assert_eq!(sink.calls(), 2);
    });
}

#[test]
fn dead_pool_answers_without_waiting_for_the_body() {
    paused(async {
        for fused in [true, false] {
            let accounts = pool(&["a", "b"], &Recorder::new());
            let sink = sink::<ReplayBody<Body>>(&[]);
            let mut service = if fused {
                let layer = FailoverLayer::builder().rotation(accounts.clone()).buffered(100);
                let service = layer.build().unwrap().layer(sink.clone());
                tower::util::BoxCloneService::new(service.map_response(|it| it.map(|_| ())))
            } else {
                let layer = TokenRotationLayer::new(accounts.clone()).buffered(100);
                let service = layer.layer(sink.clone());
                tower::util::BoxCloneService::new(service.map_response(|it| it.map(|_| ())))
            };
            let start = Instant::now();
            // The pool dies after the service became ready.
            service.ready().await.unwrap();
            accounts.invalidate("a", Reason::Invalid);
            accounts.retire("b");
            let answer = service.call(slow("never")).await.unwrap();
            assert_eq!((answer.status().as_u16(), start.elapsed()), (401, Duration::ZERO));
            let answer = service.ready().await.unwrap().call(slow("never")).await.unwrap();
            assert_eq!((answer.status().as_u16(), start.elapsed()), (401, Duration::ZERO));
            assert_eq!(sink.calls(), 0);
        }
    });
}

#[test]
fn account_that_is_rejected_while_a_body_is_awaited_does_not_serve() {
    paused(async {
        let accounts = pool(&["a", "b"], &Recorder::new());
        let sink = sink::<ReplayBody<Body>>(&[]);
        let layer = FailoverLayer::builder().rotation(accounts.clone()).buffered(100);
        let mut sent = pin!(layer.build().unwrap().layer(sink.clone()).oneshot(slow("body")));
        assert!(waits(sent.as_mut()).await);
        accounts.retire("a");
        assert_eq!(sent.await.unwrap().status(), 200);
        assert_eq!(tokens(&sink), ["tok-b"]);
        // If no model is left, the answer is local.
        let mut sent = pin!(layer_of(&accounts).layer(sink.clone()).oneshot(slow("body")));
        assert!(waits(sent.as_mut()).await);
        accounts.retire("b");
        assert_eq!(sent.await.unwrap().status(), 401);
        assert_eq!(sink.calls(), 1);
    });
}

fn layer_of(accounts: &Pool) -> FailoverLayer<tower_failover::body::Buffered> {
    FailoverLayer::builder().rotation(accounts.clone()).buffered(100).build().unwrap()
}

const ASKED: &str = r#"{"prompt":"a cat","model":"m1"}"#;

#[test]
fn model_of_an_awaited_body_is_used_for_selection() {
    paused(async {
        for fused in [true, false] {
            let accounts = Pool::builder()
                .account(stack::account("a").models(["m2"]))
                .account(stack::account("b").models(["m1"]))
                .any_origin()
                .reporter(Recorder::new())
                .build()
                .unwrap();
            let chain = ModelChain::list(["m1", "m2"]).unwrap();
            let sink = sink::<Any>(&[529]);
            let status = send_for_status(fused, &accounts, chain, &sink).await;
            assert_eq!(status, 200, "fused: {fused}");
            // Each model is served by its own account.
            assert_eq!(tokens(&sink), ["tok-b", "tok-a"]);
            let received = sink.received();
            assert_eq!(received[0].data, ASKED.as_bytes());
            assert_eq!(received[1].data, ASKED.replace("m1", "m2").as_bytes());
        }
    });
}

#[test]
fn model_that_cools_everywhere_is_skipped_after_its_body_arrived() {
    paused(async {
        for fused in [true, false] {
            let accounts = pool(&["a"], &Recorder::new());
            accounts.cool_down("a", Some("m1"), Duration::from_secs(60));
            let chain = ModelChain::list(["m1", "a-longer-model"]).unwrap();
            let sink = sink::<Any>(&[]);
            assert_eq!(
                send_for_status(fused, &accounts, chain, &sink).await,
                200,
                "fused: {fused}"
            );
            let attempts = sink.attempts();
            let sent = ASKED.replace("m1", "a-longer-model");
            assert_eq!((attempts.len(), &attempts[0].received.data[..]), (1, sent.as_bytes()));
            assert_eq!(attempts[0].head.headers["content-length"], sent.len().to_string());
            assert_eq!(attempts[0].received.first_claim().upper, Some(sent.len() as u64));
        }
    });
}

/// A boxed body, independent of the layers it passed.
type Any = http_body_util::combinators::UnsyncBoxBody<Bytes, crate::support::frames::Broken>;

async fn send_for_status(fused: bool, accounts: &Pool, chain: ModelChain, sink: &Sink<Any>) -> u16 {
    let mut request = slow(ASKED);
    request.headers_mut().insert("content-length", ASKED.len().into());
    let answer: Response<()> = if fused {
        let layer = FailoverLayer::builder()
            .models(chain)
            .rotation(accounts.clone())
            .buffered_as(100, |body: ReplayBody<Body>| body.boxed_unsync());
        let service = layer.build().unwrap().layer(sink.clone());
        service.oneshot(request).await.unwrap().map(|_| ())
    } else {
        let rotation = TokenRotationLayer::new(accounts.clone())
            .buffered_as(100, |body: ReplayBody<ReplayBody<Body>>| body.boxed_unsync());
        let models = ModelFallbackLayer::new(chain).pool(accounts.clone()).buffered(100);
        let service = models.layer(rotation.layer(sink.clone()));
        service.oneshot(request).await.unwrap().map(|_| ())
    };
    answer.status().as_u16()
}

#[test]
fn error_that_is_not_send_follows_the_data_before_it() {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Pinned {
        text: String,
        pinned: std::marker::PhantomPinned,
    }

    paused(async {
        for known in [true, false] {
            let sink = Sink::script([(Read::All, 503)]);
            let beats = vec![data("half"), pause(1), Beat::Error("broke off".into())];
            let plan = Plan { beats, known, missing: 10 };
            let pinned = |error: crate::support::frames::Broken| Pinned {
                text: error.0,
                pinned: std::marker::PhantomPinned,
            };
            let body = plan.body().map_err(pinned);
            let request = Request::post("https://a.example/").body(body).unwrap();
            let layer = RetryLayer::new(RetryPolicy::new()).buffered(100);
            let answer = layer.layer(sink.clone()).oneshot(request).await.unwrap();
            assert_eq!((answer.status().as_u16(), sink.calls()), (503, 1));
            plan.check(&sink.received()[0]);
        }
    });
}
