//! A dead token costs one call and one report.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use http::StatusCode;
use support::{
    Recorder, Step, Upstream,
    boxed::{Boxed, boxed},
    get, limit, pool, post, stack,
};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, Code, Credential, ErrorDedupLayer, Event, FailoverLayer, ModelChain,
    Pool, RequestOptions, RetryLayer, RetryPolicy, ServedBy, TokenRotationLayer, failure,
    pool::{Selection, State},
    report::{Followed, NotResent, Outcome},
    retry::{Backoff, Jitter},
};

#[tokio::test(start_paused = true)]
async fn next_account_serves_at_once_after_a_rejection() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let layer = FailoverLayer::builder()
        .rotation(pool(&["a", "b"], &recorder))
        .reporter(recorder.clone())
        .served_by(true)
        .build()
        .unwrap();
    let service = layer.layer(upstream.clone());
    for _ in 0..3 {
        let answer = service.clone().oneshot(post()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let served = answer.extensions().get::<ServedBy>().unwrap();
        assert_eq!(served.account.as_deref(), Some("b"));
    }
    assert_eq!(upstream.tokens(), ["tok-a", "tok-b", "tok-b", "tok-b"]);
    assert_eq!(upstream.waits()[0], Duration::ZERO);
    assert_eq!(recorder.codes(), ["account_out"]);
    assert_eq!(
        recorder.events()[0].to_string(),
        "account \"a\" (#1 of 2): token rejected (401 credential_invalid); quarantined for 300 s"
    );
}

#[tokio::test(start_paused = true)]
async fn reported_quarantine_equals_the_configured_one() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let pool = pool(&["a", "b"], &recorder);
    tokio::time::advance(Duration::from_micros(300)).await;
    let service = TokenRotationLayer::new(pool).layer(upstream.clone());
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
    assert_eq!(
        recorder.events()[0].to_string(),
        "account \"a\" (#1 of 2): token rejected (401 credential_invalid); quarantined for 300 s"
    );
}

#[tokio::test(start_paused = true)]
async fn dead_pool_costs_one_call_one_incident_and_one_report_per_request() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let upstream = Upstream::default().otherwise(Step::status(401));
        let pool = pool(&["a"], &recorder);
        let fused_layer = FailoverLayer::builder()
            .rotation(pool.clone())
            .retry(RetryPolicy::new())
            .reporter(recorder.clone())
            .build()
            .unwrap();
        let service = if fused {
            tower::util::BoxCloneService::new(
                fused_layer.layer(upstream.clone()).map_response(|r| r.map(drop)),
            )
        } else {
            tower::util::BoxCloneService::new(
                ServiceBuilder::new()
                    .layer(ErrorDedupLayer::new(recorder.clone()).redact(&pool))
                    .layer(RetryLayer::new(RetryPolicy::new()))
                    .layer(TokenRotationLayer::new(pool.clone()))
                    .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
                    .service(upstream.clone())
                    .map_response(|r| r.map(drop)),
            )
        };
        for round in 0..3 {
            let answer = service.clone().oneshot(post()).await.unwrap();
            assert_eq!(answer.status(), 401, "round {round}");
            assert_eq!(failure(&answer).unwrap().code, Code::CredentialInvalid);
            assert_eq!(answer.headers()["x-failover-auth"], "upstream; code=credential_invalid");
        }
        assert_eq!(upstream.calls(), 1);
        assert_eq!(
            recorder.codes(),
            ["pool_dead", "request_failed", "request_failed", "request_failed"],
            "fused: {fused}"
        );
        let failures = recorder.failures();
        let first = &failures[0];
        assert_eq!(first.outcome, Outcome::Answer(StatusCode::UNAUTHORIZED));
        assert_eq!(first.trail.len(), 1);
        assert_eq!(first.trail[0].account.as_deref(), Some("a"));
        assert_eq!(first.trail[0].followed, Followed::NotResent(NotResent::NoAccount));
        assert!(first.trail[0].credential);
        assert_eq!(failures[1].outcome, Outcome::Local(Code::CredentialInvalid));
        assert_eq!((failures[1].trail.len(), failures[1].sent), (0, false));
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_token_serves_without_a_restart() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
    let pool = pool(&["a"], &recorder);
    let layer = FailoverLayer::builder().rotation(pool.clone()).build().unwrap();
    let service = layer.layer(upstream.clone());
    assert_eq!(service.clone().oneshot(post()).await.unwrap().status(), 401);
    pool.replace("a", Credential::bearer("tok-a2").unwrap()).unwrap();
    assert_eq!(service.clone().oneshot(post()).await.unwrap().status(), 200);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-a2"]);
}

#[tokio::test(start_paused = true)]
async fn limited_account_cools_and_the_next_one_serves() {
    let recorder = Recorder::new();
    let limited = Step::answer(429, &[("retry-after", "30")], "");
    let upstream = Upstream::default().token("tok-a", [limited]);
    let layer = FailoverLayer::builder().rotation(pool(&["a", "b"], &recorder)).build().unwrap();
    let service = layer.layer(upstream.clone());
    for _ in 0..3 {
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    tokio::time::advance(Duration::from_secs(30)).await;
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
    }
    assert_eq!(upstream.tokens()[..4], ["tok-a", "tok-b", "tok-b", "tok-b"]);
    assert!(upstream.tokens()[4..].contains(&"tok-a".to_owned()));
    assert!(recorder.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lone_limited_account_is_waited_for_if_the_wait_fits() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let upstream = Upstream::statuses(&[429]);
        let pool = pool(&["a"], &recorder);
        let status = if fused {
            let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new());
            layer.build().unwrap().layer(upstream.clone()).oneshot(post()).await.unwrap().status()
        } else {
            let service = ServiceBuilder::new()
                .layer(RetryLayer::new(RetryPolicy::new()))
                .layer(TokenRotationLayer::new(pool))
                .service(upstream.clone());
            service.oneshot(post()).await.unwrap().status()
        };
        assert_eq!((status.as_u16(), upstream.calls()), (200, 2), "fused: {fused}");
        // The cooldown of an account without a hint is 1 s, longer than the first backoff.
        assert_eq!(upstream.waits(), [Duration::from_secs(1)]);
    }
}

#[tokio::test(start_paused = true)]
async fn cooling_pool_answers_429_with_the_earliest_time() {
    let recorder = Recorder::new();
    let upstream = Upstream::default();
    let pool = pool(&["a", "b"], &recorder);
    pool.cool_down("a", None, Duration::from_millis(1500));
    pool.cool_down("b", None, Duration::from_secs(60));
    let layer = FailoverLayer::builder().rotation(pool).reporter(recorder.clone()).build().unwrap();
    let answer = layer.layer(upstream.clone()).oneshot(get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (429, 0));
    assert_eq!(answer.headers()["retry-after"], "2");
    assert_eq!(failure(&answer).unwrap().code, Code::PoolLimited);
    assert!(matches!(recorder.events()[..], [Event::RequestFailed(_)]));
}

#[tokio::test(start_paused = true)]
async fn callers_own_credential_is_kept_and_affects_no_account() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("mine", Step::status(401));
    let pool = pool(&["a", "b"], &recorder);
    let layer = FailoverLayer::builder().rotation(pool.clone()).build().unwrap();
    let mut request = get();
    request.headers_mut().insert("authorization", "Bearer mine".parse().unwrap());
    let answer = layer.layer(upstream.clone()).oneshot(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.tokens()), (401, vec!["mine".to_owned()]));
    assert!(failure(&answer).is_none() && recorder.events().is_empty());
    assert!(pool.view().accounts.iter().all(|a| a.state == tower_failover::pool::State::Usable));
}

#[tokio::test(start_paused = true)]
async fn pinned_request_is_served_by_its_account_only() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().token_forever("tok-b", Step::status(401));
    let layer =
        FailoverLayer::builder().rotation(pool(&["a", "b", "c"], &recorder)).build().unwrap();
    let service = layer.layer(upstream.clone());
    let pinned = |id: &str| {
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().pin(id));
        request
    };
    for (id, status) in [("a", 200), ("a", 200), ("b", 401), ("b", 401), ("unknown", 400)] {
        let answer = service.clone().oneshot(pinned(id)).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{id}");
    }
    assert_eq!(upstream.tokens(), ["tok-a", "tok-a", "tok-b"]);
}

/// Rotation over this pool, fused or alone.
fn rotating(fused: bool, pool: &Pool, upstream: &Upstream) -> Boxed {
    if fused {
        let layer = FailoverLayer::builder().rotation(pool.clone()).build().unwrap();
        return boxed(layer.layer(upstream.clone()));
    }
    boxed(TokenRotationLayer::new(pool.clone()).layer(upstream.clone()))
}

#[tokio::test(start_paused = true)]
async fn forbidden_is_tried_with_another_account_only_on_request() {
    for fused in [true, false] {
        for (rotate, status, sent) in
            [(false, 403, &["tok-a"][..]), (true, 200, &["tok-a", "tok-b"])]
        {
            let upstream = Upstream::statuses(&[403]);
            let pool = pool(&["a", "b"], &Recorder::new());
            let service = if fused {
                let layer = FailoverLayer::builder().rotation(pool.clone());
                boxed(layer.rotate_forbidden(rotate).build().unwrap().layer(upstream.clone()))
            } else {
                let layer = TokenRotationLayer::new(pool.clone()).rotate_forbidden(rotate);
                boxed(layer.layer(upstream.clone()))
            };
            assert_eq!(service.oneshot(get()).await.unwrap().status(), status);
            assert_eq!(upstream.tokens(), sent, "rotate: {rotate}, fused: {fused}");
            assert!(pool.view().accounts.iter().all(|account| account.state == State::Usable));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn selection_by_remaining_quota_reads_the_answers() {
    for fused in [true, false] {
        let left = |name, left| Step::answer(200, &[(name, left)], "");
        let requests = |n| left("x-ratelimit-remaining-requests", n);
        let upstream = Upstream::default()
            .token("tok-a", [requests("7"), left("x-ratelimit-remaining", " 3 ")])
            .token("tok-b", [requests("5"), requests("4"), requests("2")]);
        let builder =
            stack::builder(&["a", "b"], &Recorder::new()).selection(Selection::MostRemaining);
        let service = rotating(fused, &builder.build().unwrap(), &upstream);
        for _ in 0..6 {
            assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
        }
        // An account without a figure counts as unused; one that sends no more figures keeps the last.
        let first = ["tok-a", "tok-b", "tok-a", "tok-b", "tok-b", "tok-a"];
        assert_eq!(upstream.tokens(), first, "fused: {fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_is_in_flight_until_the_body_of_its_answer_ends() {
    for fused in [true, false] {
        // Failures carry figures too.
        for status in [200, 404] {
            let upstream = Upstream::default().otherwise(Step::status(status));
            let builder = stack::builder(&["a", "b"], &Recorder::new());
            let pool = builder.selection(Selection::LeastInFlight).build().unwrap();
            let open = || pool.view().accounts.iter().map(|a| a.in_flight).collect::<Vec<_>>();
            let service = rotating(fused, &pool, &upstream);
            let first = service.clone().oneshot(get()).await.unwrap();
            assert_eq!(open().iter().sum::<u64>(), 1, "{status}, fused: {fused}");
            let second = service.clone().oneshot(get()).await.unwrap();
            assert_eq!(open(), [1, 1], "{status}, fused: {fused}");
            drop(first);
            drop(service.clone().oneshot(get()).await.unwrap());
            assert_eq!(open().iter().sum::<u64>(), 1);
            drop(second);
            assert_eq!(open(), [0, 0]);
            let sent = upstream.tokens();
            assert!(sent[0] != sent[1] && sent[0] == sent[2], "{sent:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn request_that_names_its_model_goes_to_an_account_that_serves_it() {
    for fused in [true, false] {
        let upstream = Upstream::default();
        let recorder = Recorder::new();
        let pool = Pool::builder()
            .account(stack::account("a").models(["m1"]))
            .account(stack::account("b").models(["m2"]))
            .any_origin()
            .reporter(recorder.clone())
            .build()
            .unwrap();
        let service = rotating(fused, &pool, &upstream);
        for model in ["m2", "m1", "m2", "m2"] {
            let mut request = get();
            request.extensions_mut().insert(RequestOptions::new().attempts(limit(2)).model(model));
            assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
        }
        assert_eq!(upstream.tokens(), ["tok-b", "tok-a", "tok-b", "tok-b"], "fused: {fused}");
        // Other options stay: a pin, which this account cannot serve.
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().pin("a").model("m2"));
        let answer = service.oneshot(request).await.unwrap();
        assert!(failure(&answer).is_some() && upstream.calls() == 4, "fused: {fused}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_skips_an_account_whose_model_began_to_cool_while_it_waited() {
    let upstream = Upstream::statuses(&[503]);
    let pool = pool(&["a", "b", "c"], &Recorder::new());
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).unwrap();
    let layer = FailoverLayer::builder()
        .rotation(pool.clone())
        .retry(RetryPolicy::new().backoff(backoff.jitter(Jitter::NONE)))
        .models(ModelChain::list(["m1"]).unwrap())
        .build()
        .unwrap();
    let service = layer.layer(upstream.clone());
    let (answer, ()) = tokio::join!(service.oneshot(post()), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // These accounts would be next.
        for id in ["b", "c"] {
            assert!(pool.cool_down(id, Some("m1"), Duration::from_secs(60)));
        }
    });
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-a"]);
}

#[tokio::test(start_paused = true)]
async fn replay_with_a_new_credential_follows_only_a_401() {
    for fused in [true, false] {
        let limited = Step::answer(429, &[("retry-after", "30")], "");
        let upstream = Upstream::default().token("tok-a", [limited.after(Duration::from_secs(1))]);
        let pool = pool(&["a", "b"], &Recorder::new());
        let service = rotating(fused, &pool, &upstream);
        let (answer, ()) = tokio::join!(service.oneshot(get()), async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            pool.replace("a", Credential::bearer("tok-a2").unwrap()).unwrap();
        });
        assert_eq!(answer.unwrap().status(), 200);
        assert_eq!(upstream.tokens(), ["tok-a", "tok-b"], "fused: {fused}");
    }
}
