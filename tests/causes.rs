//! The cause of a rejection: whether a new token would help, the expiry, and the account.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use http_body_util::BodyExt;
use support::{Recorder, Step, Upstream, get, script::in_seconds};
use tower::{Layer, ServiceExt};
use tower_failover::{
    Account, Code, Credential, FailoverLayer, Pool, Reason, RequestOptions,
    classify::Origin,
    credential::{Expires, FixedToken, RefreshReason, Token},
    failure,
    short_circuit::AuthFailureMode,
};

#[tokio::test(start_paused = true)]
async fn rejection_of_a_fixed_token_does_not_require_a_refresh() {
    let upstream = Upstream::default().otherwise(Step::status(401));
    let pool = Pool::builder()
        .account(Account::from_source("alice", FixedToken::new("tok-alice")))
        .any_origin()
        .reporter(Recorder::new())
        .build()
        .unwrap();
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    let _ = service.clone().oneshot(get()).await.unwrap();
    let answer = service.oneshot(get()).await.unwrap();
    let cause = failure(&answer).unwrap();
    assert_eq!((cause.code, cause.requires_refresh), (Code::CredentialInvalid, false));
}

#[tokio::test(start_paused = true)]
async fn rejection_of_a_pinned_account_ignores_the_sources_of_others() {
    let upstream = Upstream::default().otherwise(Step::status(401));
    let minted =
        Account::from_source("bob", |_: RefreshReason| async { Ok(Token::new("tok-bob")) });
    let pool = Pool::builder()
        .account(Account::new("alice", Credential::bearer("tok-alice").unwrap()))
        .account(minted)
        .any_origin()
        .reporter(Recorder::new())
        .build()
        .unwrap();
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    let pinned = || {
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().pin("alice"));
        request
    };
    let _ = service.clone().oneshot(pinned()).await.unwrap();
    let answer = service.oneshot(pinned()).await.unwrap();
    let cause = failure(&answer).unwrap();
    assert_eq!((cause.code, cause.requires_refresh), (Code::CredentialInvalid, false));
}

#[tokio::test(start_paused = true)]
async fn upstream_rejection_has_the_same_cause_as_a_local_one() {
    let upstream = Upstream::default().otherwise(Step::status(401));
    let count = std::sync::atomic::AtomicU32::new(0);
    let minted = Account::from_source("bob", move |_: RefreshReason| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move { Ok(Token::new(format!("tok-bob-{n}"))) }
    });
    let pool =
        Pool::builder().account(minted).any_origin().reporter(Recorder::new()).build().unwrap();
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    let first = service.clone().oneshot(get()).await.unwrap();
    let local = service.clone().oneshot(get()).await.unwrap();
    let kept = service.oneshot(get()).await.unwrap();
    assert_eq!(failure(&local), failure(&kept));
    let (first, local) = (failure(&first).unwrap(), failure(&local).unwrap());
    assert_eq!((first.code, local.code), (Code::CredentialInvalid, Code::CredentialInvalid));
    assert_eq!((first.origin, local.origin), (Origin::Upstream, Origin::Local));
    assert_eq!((first.requires_refresh, local.requires_refresh), (true, true), "the same cause");
}

/// An account whose token expires in 10 s by its own date: 60 s of skew are tolerated, so it is still
/// sent after 30 s, and the upstream answers that it has expired.
fn tolerated() -> (Upstream, Pool) {
    let challenge = "Bearer error=\"invalid_token\", error_description=\"The token expired\"";
    let answer = Step::answer(401, &[("www-authenticate", challenge)], "");
    let alice = Account::new("alice", Credential::bearer("tok-alice").unwrap());
    let pool = Pool::builder()
        .account(alice.expires(Expires::At(in_seconds(10))))
        .any_origin()
        .reporter(Recorder::new())
        .build()
        .unwrap();
    (Upstream::default().otherwise(answer), pool)
}

#[tokio::test(start_paused = true)]
async fn upstream_expired_answer_contains_the_expiry() {
    let (upstream, pool) = tolerated();
    let service = FailoverLayer::builder().rotation(pool).build().unwrap().layer(upstream);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let first = service.clone().oneshot(get()).await.unwrap();
    let local = service.oneshot(get()).await.unwrap();
    let (first, local) = (failure(&first).unwrap(), failure(&local).unwrap());
    assert_eq!((first.code, local.code), (Code::CredentialExpired, Code::CredentialExpired));
    assert!(local.expired_at.is_some(), "the local answer has the expiry");
    assert_eq!(first.expired_at, local.expired_at);
}

/// A rejection whose answer is replaced has the same content in its body.
#[tokio::test(start_paused = true)]
async fn replaced_rejection_contains_the_expiry() {
    let (upstream, pool) = tolerated();
    let builder = FailoverLayer::builder().rotation(pool).auth_failure(AuthFailureMode::Replace);
    let service = builder.build().unwrap().layer(upstream);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let answer = service.oneshot(get()).await.unwrap();
    let cause = *failure(&answer).unwrap();
    assert_eq!((cause.code, cause.origin), (Code::CredentialExpired, Origin::Upstream));
    let body = answer.into_body().collect().await.map_err(|_| "a local body").unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let at = humantime::format_rfc3339_seconds(cause.expired_at.unwrap()).to_string();
    assert_eq!((&problem["expired_at"], &problem["requires_refresh"]), (&at.into(), &true.into()));
}

/// For a whole pool, the latest expiry counts, and the source of any account that was rejected for
/// that reason; a kept answer has the same content.
#[tokio::test(start_paused = true)]
async fn cause_of_a_pool_describes_its_rejected_accounts() {
    let start = in_seconds(0);
    let expiring = |id: &str, seconds| {
        Account::new(id, Credential::bearer(format!("tok-{id}")).unwrap())
            .expires(Expires::At(start + Duration::from_secs(seconds)))
    };
    let minted =
        Account::from_source("eve", |_: RefreshReason| async { Ok(Token::new("tok-eve")) });
    let pool = Pool::builder()
        .account(expiring("alice", 6000))
        .account(expiring("bob", 600))
        .account(minted)
        .any_origin()
        .reporter(Recorder::new())
        .build()
        .unwrap();
    pool.wait_ready().await.unwrap();
    assert!(pool.retire("eve"));
    let upstream = Upstream::default();
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    tokio::time::sleep(Duration::from_secs(700)).await;
    let mut bob = get();
    bob.extensions_mut().insert(RequestOptions::new().pin("bob"));
    let of_bob = *failure(&service.clone().oneshot(bob).await.unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(6000)).await;
    let first = *failure(&service.clone().oneshot(get()).await.unwrap()).unwrap();
    let kept = *failure(&service.clone().oneshot(get()).await.unwrap()).unwrap();
    assert_eq!((first.code, first), (Code::CredentialExpired, kept));
    let between = first.expired_at.unwrap().duration_since(of_bob.expired_at.unwrap()).unwrap();
    assert_eq!(between.as_secs(), 5400);

    for id in ["alice", "bob"] {
        pool.replace(id, Credential::bearer(format!("new-{id}")).unwrap()).unwrap();
        assert!(pool.invalidate(id, Reason::Invalid));
    }
    for _ in 0..2 {
        let cause = *failure(&service.clone().oneshot(get()).await.unwrap()).unwrap();
        assert_eq!((cause.code, cause.requires_refresh), (Code::CredentialInvalid, false));
        assert_eq!((cause.retry_after, cause.expired_at), (None, None));
    }
}

/// Two accounts have expired; a request that is pinned to the first gets the expiry of the first.
#[tokio::test(start_paused = true)]
async fn cause_of_a_pinned_request_describes_its_account() {
    let account = |id: &str, seconds| {
        Account::new(id, Credential::bearer(format!("tok-{id}")).unwrap())
            .expires(Expires::In(Duration::from_secs(seconds)))
    };
    let pool = Pool::builder()
        .account(account("alice", 600))
        .account(account("bob", 6000))
        .any_origin()
        .reporter(Recorder::new())
        .build()
        .unwrap();
    let upstream = Upstream::default();
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    let pinned = || {
        let mut request = get();
        request.extensions_mut().insert(RequestOptions::new().pin("alice"));
        request
    };
    tokio::time::sleep(Duration::from_secs(601)).await;
    let first = service.clone().oneshot(pinned()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6000)).await;
    let later = service.oneshot(pinned()).await.unwrap();
    assert_eq!(
        failure(&first).unwrap().expired_at.unwrap(),
        failure(&later).unwrap().expired_at.unwrap(),
    );
}

/// The view of an account whose source is down has the reason, and the time of the next call.
#[tokio::test(start_paused = true)]
async fn view_shows_the_reason_and_the_end_of_a_refresh() {
    let down = |_: RefreshReason| async {
        Err::<Token, _>(tower_failover::credential::SourceError::transient("down"))
    };
    let alice = Account::new("alice", Credential::bearer("tok-alice").unwrap()).source(down);
    let pool =
        Pool::builder().account(alice).any_origin().reporter(Recorder::new()).build().unwrap();
    let upstream = Upstream::default().otherwise(Step::status(401));
    let service = FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream);
    let _ = service.oneshot(get()).await.unwrap();
    let view = &pool.view().accounts[0];
    assert!(view.reason.is_some(), "{view:?}");
    assert!(view.usable_in.is_some(), "{view:?}");
}
