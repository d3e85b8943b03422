//! The accounts that a request tries after a revoked credential.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use support::{
    Recorder, Step, Upstream,
    boxed::{Boxed, boxed},
    get, stack,
};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_failover::{
    ErrorDedupLayer, FailoverLayer, Pool, Reason, RetryLayer, RetryPolicy, TokenRotationLayer,
    credential::{RefreshReason, SourceError, TokenFuture, TokenSource},
    pool::Cascade,
    report::{Followed, NotResent},
};

fn revoked() -> Step {
    let challenge = r#"Bearer error="invalid_token", error_description="it was revoked""#;
    Step::answer(401, &[("www-authenticate", challenge)], "")
}

/// `a` and `b` of one owner, `c` of another, `d` of none; in this order.
fn pool(cascade: Cascade, recorder: &Recorder) -> Pool {
    let accounts = [
        stack::account("a").group("studio"),
        stack::account("b").group("studio"),
        stack::account("c").group("lab"),
        stack::account("d"),
    ];
    let builder = Pool::builder().accounts(accounts).cascade(cascade).any_origin();
    builder.reporter(recorder.clone()).build().unwrap()
}

/// Retry over rotation, fused or stacked.
fn over(fused: bool, pool: &Pool, recorder: &Recorder, upstream: &Upstream) -> Boxed {
    let (pool, retry) = (pool.clone(), RetryPolicy::new());
    if fused {
        let builder = FailoverLayer::builder().rotation(pool).retry(retry);
        return boxed(builder.reporter(recorder.clone()).build().unwrap().layer(upstream.clone()));
    }
    let stack = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()))
        .layer(RetryLayer::new(retry))
        .layer(TokenRotationLayer::new(pool));
    boxed(stack.service(upstream.clone()))
}

#[tokio::test(start_paused = true)]
async fn revoked_token_stops_the_cascade_set_by_the_pool() {
    for fused in [true, false] {
        for (cascade, status, sent) in [
            (Cascade::SameGroup, 200, &["tok-a", "tok-c"][..]),
            (Cascade::All, 200, &["tok-a", "tok-b"]),
            (Cascade::Never, 401, &["tok-a"]),
        ] {
            let recorder = Recorder::new();
            let upstream = Upstream::default().token_forever("tok-a", revoked());
            let service = over(fused, &pool(cascade, &recorder), &recorder, &upstream);
            let answer = service.clone().oneshot(get()).await.unwrap();
            assert_eq!(answer.status(), status, "{cascade:?}, fused: {fused}");
            assert_eq!(upstream.tokens(), sent, "{cascade:?}, fused: {fused}");
            let ends: Vec<_> = recorder.failures().iter().map(|r| r.trail[0].followed).collect();
            let stopped = Followed::NotResent(NotResent::NoAccount);
            assert_eq!(ends, vec![stopped; usize::from(status == 401)]);
            // This request skips the siblings; other requests still use them.
            assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
            assert!(!upstream.tokens()[1..].contains(&"tok-a".to_owned()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_without_revocation_leaves_the_group_open() {
    for fused in [true, false] {
        for cascade in [Cascade::SameGroup, Cascade::Never] {
            let recorder = Recorder::new();
            let upstream = Upstream::default().token_forever("tok-a", Step::status(401));
            let service = over(fused, &pool(cascade, &recorder), &recorder, &upstream);
            assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
            assert_eq!(upstream.tokens(), ["tok-a", "tok-b"], "{cascade:?}, fused: {fused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn group_stays_closed_for_the_retries_of_the_request() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let busy = || [Step::status(503)];
        let upstream = Upstream::default()
            .token("tok-a", [revoked()])
            .token("tok-c", busy())
            .token("tok-d", busy());
        let pool = pool(Cascade::SameGroup, &recorder);
        let service = over(fused, &pool, &recorder, &upstream);
        assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
        // After `d`, `b` would be next.
        assert_eq!(upstream.tokens(), ["tok-a", "tok-c", "tok-d", "tok-c"], "fused: {fused}");
        for _ in 0..3 {
            assert_eq!(service.clone().oneshot(get()).await.unwrap().status(), 200);
        }
        assert!(upstream.tokens()[4..].contains(&"tok-b".to_owned()));
    }
}

/// A source that can mint after any reason, but is down.
struct Down;

impl TokenSource for Down {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(async {
            sleep(Duration::from_secs(1)).await;
            Err(SourceError::transient("the token endpoint is down"))
        })
    }

    fn can_renew_after(&self, _: Reason) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn revoked_token_whose_source_mints_another_leaves_its_group_open() {
    for fused in [true, false] {
        for cascade in [Cascade::SameGroup, Cascade::Never] {
            let recorder = Recorder::new();
            let builder = Pool::builder()
                .account(stack::account("a").source(Down).group("studio"))
                .account(stack::account("b").group("studio"))
                .cascade(cascade)
                .any_origin()
                .reporter(recorder.clone());
            let upstream = Upstream::default().token("tok-a", [revoked()]);
            let service = over(fused, &builder.build().unwrap(), &recorder, &upstream);
            assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
            assert_eq!(upstream.tokens(), ["tok-a", "tok-b"], "{cascade:?}, fused: {fused}");
        }
    }
}
