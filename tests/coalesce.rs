//! Of equal failures, the first is reported, then the number of the others.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use http::{Request, StatusCode};
use support::{Recorder, Step, Upstream, get, post, stack::Body};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_failover::{
    BuildError, ErrorDedupLayer, Event, FailoverLayer, Reporter, RequestOptions, RetryPolicy,
    report::{Coalesce, CoalesceError, Coalesced, Followed, NotResent, ReporterHandle},
};

const WINDOW: Duration = Duration::from_secs(60);

/// Sleeps, and lets other tasks that wake at the same time run first.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    tokio::task::yield_now().await;
}

fn at(path: &str) -> Request<Body> {
    Request::get(format!("https://api.example.com{path}")).body(Body::default()).unwrap()
}

fn coalesced(recorder: &Recorder) -> Vec<Coalesced> {
    let events = recorder.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Coalesced(held) => Some(held),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn dead_upstream_reports_one_failure_and_one_count_per_window() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().otherwise(Step::status(503));
    let layer = FailoverLayer::builder()
        .retry(RetryPolicy::new().retries(1))
        .reporter(recorder.clone())
        .coalesce(WINDOW)
        .build()
        .unwrap();
    let service = layer.layer(upstream.clone());
    let start = Instant::now();
    let mut first = None;
    for _ in 0..5 {
        let answer = service.clone().oneshot(post()).await.unwrap();
        assert_eq!(answer.status(), 503);
        first.get_or_insert_with(Instant::now);
    }
    assert!(start.elapsed() < WINDOW, "all in one window");
    assert_eq!(recorder.codes(), ["request_failed"]);
    let shortly_before = first.unwrap() + WINDOW - Duration::from_millis(1);
    pass(shortly_before - Instant::now()).await;
    assert_eq!(recorder.codes(), ["request_failed"], "reported before the end of the window");
    pass(Duration::from_millis(2)).await;
    assert_eq!(recorder.codes(), ["request_failed", "coalesced"]);
    let held = coalesced(&recorder).remove(0);
    assert_eq!((held.held_back, held.window), (4, WINDOW));
    let last = held.last.record().unwrap();
    assert_eq!(last.outcome.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(last.trail.len(), 2, "with all its attempts");
    assert_eq!(last.trail[1].followed, Followed::NotResent(NotResent::Retries));

    recorder.clear();
    service.clone().oneshot(post()).await.unwrap();
    assert_eq!(recorder.codes(), ["request_failed"], "a new window reports again");
    drop((service, layer));
    pass(WINDOW * 2).await;
    assert_eq!(recorder.codes(), ["request_failed"], "nothing was held back");
}

#[tokio::test(start_paused = true)]
async fn last_service_reports_the_held_back_events() {
    let recorder = Recorder::new();
    let layer = ErrorDedupLayer::new(recorder.clone()).coalesce(WINDOW).unwrap();
    let upstream = Upstream::default().otherwise(Step::error("reset"));
    let (one, two) = (layer.layer(upstream.clone()), layer.layer(upstream));
    for _ in 0..2 {
        one.clone().oneshot(get()).await.unwrap_err();
        two.clone().oneshot(get()).await.unwrap_err();
    }
    drop((layer, one));
    assert_eq!(recorder.codes(), ["request_failed"]);
    drop(two);
    assert_eq!(recorder.codes(), ["request_failed", "coalesced"]);
    assert_eq!(coalesced(&recorder)[0].held_back, 3);
}

#[tokio::test(start_paused = true)]
async fn other_causes_are_reported_at_once() {
    let recorder = Recorder::new();
    let upstream = Upstream::statuses(&[404, 404, 500, 404, 404, 404]);
    let layer = ErrorDedupLayer::new(recorder.clone()).coalesce(WINDOW).unwrap();
    let service = layer.layer(upstream);
    let mut labelled = at("/v1/videos/1");
    let options = RequestOptions::new().label("nightly");
    labelled.extensions_mut().insert(options);
    let requests = [
        at("/v1/videos/1"),
        at("/v1/videos/2"), // same cause
        at("/v1/videos/3"),
        at("/v1/images/1"),
        labelled,
        at("/v1/videos/4"), // same cause
    ];
    for request in requests {
        service.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(recorder.codes(), ["request_failed"; 4]);
    pass(WINDOW * 2).await;
    let held = coalesced(&recorder);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].held_back, 2);
    assert_eq!(&*held[0].last.record().unwrap().path, "/v1/videos/4");
}

#[tokio::test(start_paused = true)]
async fn incidents_are_never_held_back() {
    let recorder = Recorder::new();
    let coalesce = Coalesce::new(recorder.clone(), WINDOW).unwrap();
    let pool =
        support::stack::builder(&["a"], &recorder).reporter(coalesce.clone()).build().unwrap();
    let upstream = Upstream::default().otherwise(Step::status(401));
    let layer = FailoverLayer::builder().rotation(pool.clone()).reporter(coalesce).build().unwrap();
    let service = layer.layer(upstream.clone());
    for round in 1..=3 {
        service.clone().oneshot(get()).await.unwrap();
        // While the account is out, local answers are held back.
        for _ in 0..2 {
            service.clone().oneshot(get()).await.unwrap();
        }
        assert_eq!(recorder.incidents().len(), round, "{:?}", recorder.codes());
        assert_eq!(recorder.failures().len(), 2, "one that was sent, one answered locally");
        let token = format!("tok-{round}");
        pool.replace("a", tower_failover::Credential::bearer(&token).unwrap()).unwrap();
    }
    drop((service, layer, pool));
    let held: u64 = coalesced(&recorder).iter().map(|held| held.held_back).sum();
    assert_eq!(held + 2, 9, "each of nine failures is reported or counted");
}

#[tokio::test(start_paused = true)]
async fn nested_coalesces_count_each_event_once() {
    let recorder = Recorder::new();
    let inner = Coalesce::new(recorder.clone(), WINDOW).unwrap();
    let outer = Coalesce::new(inner, WINDOW / 2).unwrap();
    let service =
        ErrorDedupLayer::new(outer).layer(Upstream::default().otherwise(Step::status(500)));
    for _ in 0..10 {
        service.clone().oneshot(get()).await.unwrap();
        pass(WINDOW / 4).await;
    }
    drop(service);
    let events = recorder.events();
    let total: u64 = events
        .iter()
        .map(|event| match event {
            Event::Coalesced(held) => held.held_back,
            _ => 1,
        })
        .sum();
    assert_eq!(total, 10, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn flush_ends_every_window() {
    let recorder = Recorder::new();
    let coalesce = Coalesce::with_capacity(recorder.clone(), WINDOW, 2).unwrap();
    let service = ErrorDedupLayer::new(coalesce.clone())
        .layer(Upstream::default().otherwise(Step::status(500)));
    for path in ["/a", "/b", "/c", "/a", "/b", "/c"] {
        service.clone().oneshot(at(path)).await.unwrap();
    }
    assert_eq!(recorder.failures().len(), 4, "there is room for two of three");
    coalesce.flush();
    coalesce.flush();
    assert_eq!(coalesced(&recorder).len(), 2);
    service.oneshot(at("/a")).await.unwrap();
    assert_eq!(recorder.failures().len(), 5);
}

#[test]
fn impossible_window_is_a_build_error() {
    let fused = |window| {
        let builder = FailoverLayer::builder().reporter(Recorder::new()).coalesce(window);
        builder.build().map(drop)
    };
    let alone = |window| ErrorDedupLayer::new(Recorder::new()).coalesce(window).map(drop);
    for (window, error) in
        [(Duration::ZERO, CoalesceError::ZeroWindow), (Duration::MAX, CoalesceError::WindowTooLong)]
    {
        assert_eq!(fused(window), Err(BuildError::Coalesce(error)));
        assert_eq!(alone(window), Err(BuildError::Coalesce(error)));
    }
    assert_eq!(fused(WINDOW), Ok(()));
    assert_eq!(alone(WINDOW), Ok(()));
    let unreported = FailoverLayer::builder().retry(RetryPolicy::new()).coalesce(WINDOW).build();
    assert_eq!(unreported.map(drop), Err(BuildError::NoReporter));
}

#[test]
fn coalesce_is_send_and_its_debug_output_contains_no_event() {
    fn assert_bounds<T: Send + Sync + Clone + Reporter>(_: &T) {}
    let coalesce = Coalesce::new(ReporterHandle::none(), WINDOW).unwrap();
    assert_bounds(&coalesce);
    assert_eq!(
        format!("{coalesce:?}"),
        "Coalesce { reporter: ReporterHandle { is_none: true, panics: 0 }, window: 60s, .. }"
    );
}
