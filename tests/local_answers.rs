//! Local answers: their form, their headers, and the changes that a hook may make.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use support::{
    Recorder, Step, Upstream, get, pool,
    script::in_seconds,
    stack::{self, Body},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_failover::{
    Account, Code, Credential, Failover, FailoverLayer, Pool, Reason, RequestOptions, RetryPolicy,
    answer::Problem,
    classify::Origin,
    credential::{Expires, RefreshReason, Token},
    failure,
    short_circuit::AuthFailureMode,
};

const REASONS: [Reason; 6] = [
    Reason::Missing,
    Reason::Expired,
    Reason::Invalid,
    Reason::Revoked,
    Reason::Inactive,
    Reason::InsufficientScope,
];

fn rotating(pool: &Pool, upstream: &Upstream) -> Failover<Upstream> {
    FailoverLayer::builder().rotation(pool.clone()).build().unwrap().layer(upstream.clone())
}

/// Builds a request of gRPC, or of plain HTTP.
fn request_of(content_type: &str) -> Request<Body> {
    let mut request = get();
    request.headers_mut().insert("content-type", content_type.parse().unwrap());
    request
}

fn pinned(mut request: Request<Body>, id: &str) -> Request<Body> {
    request.extensions_mut().insert(RequestOptions::new().pin(id));
    request
}

async fn read<B>(answer: Response<B>) -> (http::response::Parts, Bytes)
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(Into::into).unwrap().to_bytes();
    (head, body)
}

async fn document<B>(answer: Response<B>) -> Value
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    serde_json::from_slice(&read(answer).await.1).unwrap()
}

// --- the form

#[tokio::test(start_paused = true)]
async fn challenge_names_the_error_of_the_credential() {
    for reason in REASONS {
        let upstream = Upstream::default();
        let pool = pool(&["a"], &Recorder::new());
        assert!(pool.invalidate("a", reason));
        let answer = rotating(&pool, &upstream).oneshot(get()).await.unwrap();
        let invalid = "Bearer error=\"invalid_token\", error_description=\"The upstream credential";
        let wanted = match reason {
            // Nothing was sent, so nothing was rejected (RFC 6750 §3.1).
            Reason::Missing => "Bearer".to_owned(),
            Reason::InsufficientScope => "Bearer error=\"insufficient_scope\"".to_owned(),
            Reason::Expired => format!("{invalid} has expired\""),
            Reason::Revoked => format!("{invalid} was revoked\""),
            _ => format!("{invalid} is not accepted\""),
        };
        assert_eq!(failure(&answer).unwrap().code, Code::from(reason));
        assert_eq!(answer.headers()["www-authenticate"], wanted, "{reason:?}");
        assert_eq!((answer.status().as_u16(), upstream.calls()), (401, 0));
    }
    let empty = Pool::builder().any_origin().may_be_empty().build().unwrap();
    let answer = rotating(&empty, &Upstream::default()).oneshot(get()).await.unwrap();
    assert_eq!(failure(&answer).unwrap().code, Code::PoolEmpty);
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
}

#[tokio::test(start_paused = true)]
async fn grpc_request_is_answered_in_grpc() {
    let rejected = Pool::builder()
        .account(stack::account("a"))
        .any_origin()
        .help("100 % of help:\nhttps://example.com/é")
        .build()
        .unwrap();
    assert!(rejected.invalidate("a", Reason::Revoked));
    let cooling = pool(&["a"], &Recorder::new());
    assert!(cooling.cool_down("a", None, Duration::from_secs(30)));
    // With one of two accounts dead, the answer depends on the request.
    let half = pool(&["a", "b"], &Recorder::new());
    assert!(half.invalidate("a", Reason::Revoked));
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc; a=b"] {
        // The second answer is a copy of the kept one.
        for _ in 0..2 {
            for (pool, status, retry) in
                [(&rejected, "16", None), (&cooling, "8", Some("30")), (&half, "16", None)]
            {
                let service = rotating(pool, &Upstream::default());
                let request = request_of(kind);
                let half = pool.len() == 2;
                let request = if half { pinned(request, "a") } else { request };
                let answer = service.oneshot(request).await.unwrap();
                let (head, body) = read(answer).await;
                assert_eq!((head.status.as_u16(), body.len()), (200, 0), "{kind}");
                assert_eq!(head.headers["content-type"], "application/grpc");
                assert_eq!(head.headers["grpc-status"], status);
                assert_eq!(head.headers["cache-control"], "no-store");
                assert_eq!(head.headers.get("retry-after").map(|v| v.to_str().unwrap()), retry);
                assert!(!head.headers.contains_key("www-authenticate"));
            }
        }
    }
    let answer = rotating(&rejected, &Upstream::default()).oneshot(request_of("application/grpc"));
    let (head, _) = read(answer.await.unwrap()).await;
    assert_eq!(
        head.headers["grpc-message"],
        "The credential was revoked. (credential_revoked) 100 %25 of help:%0Ahttps://example.com/%C3%A9"
    );
    assert_eq!(head.headers["x-failover-auth"], "upstream; code=credential_revoked");
    for kind in ["application/grpc-web", "application/grpcx", "application/json", "text/plain"] {
        let answer =
            rotating(&rejected, &Upstream::default()).oneshot(request_of(kind)).await.unwrap();
        assert_eq!(answer.status(), 401, "{kind}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn rejection_is_replaced_in_the_protocol_of_the_caller() {
    for (kind, status, form) in [
        ("application/grpc", 200, "application/grpc"),
        ("application/json", 401, "application/problem+json"),
    ] {
        let layer = FailoverLayer::builder()
            .rotation(pool(&["a"], &Recorder::new()))
            .auth_failure(AuthFailureMode::Replace)
            .build()
            .unwrap();
        let upstream = Upstream::script([Step::answer(401, &[("x-inner", "name")], "affairs")]);
        let answer = layer.layer(upstream.clone()).oneshot(request_of(kind)).await.unwrap();
        assert!(!answer.headers().contains_key("x-inner"));
        assert_eq!(failure(&answer).unwrap().origin, Origin::Upstream);
        assert_eq!((answer.status().as_u16(), upstream.calls()), (status, 1), "{kind}");
        assert_eq!(answer.headers()["content-type"], form);
        assert_eq!(answer.headers().contains_key("grpc-status"), form == kind);
    }
}

/// The account dies while the request waits for its retry: nothing can be sent any more.
#[tokio::test(start_paused = true)]
async fn impossible_attempt_is_answered_in_the_protocol_of_the_caller() {
    for (kind, status, form) in [
        ("application/grpc", 200, "application/grpc"),
        ("application/json", 401, "application/problem+json"),
    ] {
        let pool = pool(&["a"], &Recorder::new());
        let layer = FailoverLayer::builder()
            .rotation(pool.clone())
            .retry(RetryPolicy::new().retries(1))
            .build()
            .unwrap();
        let upstream = Upstream::script([Step::answer(503, &[("retry-after", "1")], "")]);
        let call = tokio::spawn(layer.layer(upstream.clone()).oneshot(request_of(kind)));
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(pool.invalidate("a", Reason::Revoked));
        let answer = call.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (status, 1), "{kind}");
        assert_eq!(answer.headers()["content-type"], form);
    }
}

// --- the content

#[tokio::test(start_paused = true)]
async fn retry_after_is_the_cooldown_in_whole_seconds_and_never_too_short() {
    let pool = pool(&["a"], &Recorder::new());
    assert!(pool.cool_down("a", None, Duration::from_secs(3)));
    let service = rotating(&pool, &Upstream::default());
    let millis = Duration::from_millis;
    for (wait, wanted) in [(0, "3"), (1, "3"), (999, "2"), (999, "2"), (1, "1"), (999, "1")] {
        tokio::time::advance(millis(wait)).await;
        let answer = service.clone().oneshot(get()).await.unwrap();
        assert_eq!(answer.headers()["retry-after"], wanted, "after {wait} ms more");
    }
    tokio::time::advance(millis(1)).await;
    assert_eq!(service.oneshot(get()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn answers_of_one_code_describe_their_own_account() {
    let (soon, later) = (in_seconds(1000), in_seconds(5000));
    let until = |id: &str, date| {
        let bearer = Credential::bearer(format!("tok-{id}")).unwrap();
        Account::new(id, bearer).expires(Expires::At(date))
    };
    let pool = Pool::builder()
        .account(stack::account("fixed"))
        .account(Account::from_source("minted", |_: RefreshReason| async {
            Ok(Token::new("tok-minted"))
        }))
        .account(until("soon", soon))
        .account(until("later", later))
        .account(stack::account("ended"))
        .any_origin()
        .build()
        .unwrap();
    let upstream = Upstream::default().token_forever("tok-minted", Step::status(401));
    let service = rotating(&pool, &upstream);
    let send = |id| service.clone().oneshot(pinned(get(), id));
    tokio::time::advance(Duration::from_secs(6000)).await;
    assert_eq!(send("minted").await.unwrap().status(), 401);
    assert!(pool.invalidate("fixed", Reason::Invalid));
    assert!(pool.invalidate("ended", Reason::Expired));
    // Twice: the answer for one account must not be kept for the other.
    for round in 0..2 {
        for (id, refresh, at) in [
            ("fixed", false, None),
            ("minted", true, None),
            ("soon", true, Some(soon)),
            ("later", true, Some(later)),
            ("ended", true, None),
        ] {
            let answer = send(id).await.unwrap();
            let cause = *failure(&answer).unwrap_or_else(|| panic!("{id} was sent"));
            let problem = document(answer).await;
            assert_eq!(cause.origin, Origin::Local, "{id} in round {round}");
            assert_eq!(problem["requires_refresh"], refresh, "{id} in round {round}");
            assert_eq!(cause.requires_refresh, refresh, "{id} in round {round}");
            let at = at.map(|at| humantime::format_rfc3339_seconds(at).to_string());
            assert_eq!(problem["expired_at"].as_str(), at.as_deref(), "{id} in round {round}");
        }
    }
}

// --- answers of the user

fn hooked(pool: &Pool, hook: fn() -> Option<Response<Bytes>>) -> Failover<Upstream> {
    let layer = FailoverLayer::builder().rotation(pool.clone()).local_answer(move |_| hook());
    layer.build().unwrap().layer(Upstream::default())
}

fn own() -> Response<Bytes> {
    let mut answer = Problem::new(http::StatusCode::CONFLICT).into_response();
    answer.headers_mut().insert("x-own", "yes".parse().unwrap());
    answer
}

#[tokio::test(start_paused = true)]
async fn answer_of_a_hook_gets_the_correct_headers() {
    let pool = pool(&["a"], &Recorder::new());
    assert!(pool.cool_down("a", None, Duration::from_secs(30)));
    let wrong = || {
        let mut answer = own();
        answer.headers_mut().insert("x-failover-auth", "upstream; code=x".parse().unwrap());
        answer.headers_mut().insert("retry-after", "1".parse().unwrap());
        Some(answer)
    };
    for hook in [|| Some(own()), wrong] {
        let answer = hooked(&pool, hook).oneshot(get()).await.unwrap();
        assert_eq!(failure(&answer).unwrap().code, Code::PoolLimited);
        let (head, body) = read(answer).await;
        assert_eq!((head.status.as_u16(), &head.headers["x-own"]), (409, &"yes".parse().unwrap()));
        assert_eq!(head.headers["retry-after"], "30");
        assert_eq!(head.headers["x-failover-auth"], "upstream; code=pool_limited");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!({"status": 409, "title": "Conflict"}));
    }
}

#[tokio::test(start_paused = true)]
async fn hook_that_declines_or_panics_leaves_the_usual_answer() {
    let pool = pool(&["a"], &Recorder::new());
    assert!(pool.cool_down("a", None, Duration::from_secs(30)));
    for hook in [(|| None) as fn() -> _, || panic!("on purpose")] {
        let (head, body) = read(hooked(&pool, hook).oneshot(get()).await.unwrap()).await;
        let (usual, words) =
            read(rotating(&pool, &Upstream::default()).oneshot(get()).await.unwrap()).await;
        assert_eq!((head.status, head.headers, body), (usual.status, usual.headers, words));
    }
}
