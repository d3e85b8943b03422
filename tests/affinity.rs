//! Jobs stay with the account that made them.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use support::{Recorder, Step, Upstream, get, pool, post, stack::Body};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, util::BoxCloneService};
use tower_failover::{
    AuthShortCircuitLayer, Code, Credential, ErrorDedupLayer, FailoverLayer, ModelChain,
    ModelFallbackLayer, Pool, RequestOptions, RetryLayer, RetryPolicy, ServedBy,
    TokenRotationLayer, classify::Origin, failure, pool::State, report::Outcome,
};

type Stack = BoxCloneService<Request<Body>, Response<()>, BoxError>;

fn chain() -> ModelChain {
    ModelChain::list(["m1", "m2", "m3"]).unwrap()
}

/// Returns the layers that resend, fused and stacked.
fn stacks(pool: &Pool, recorder: &Recorder, upstream: &Upstream) -> [(&'static str, Stack); 2] {
    let fused = FailoverLayer::builder()
        .rotation(pool.clone())
        .models(chain())
        .retry(RetryPolicy::new())
        .reporter(recorder.clone())
        .served_by(true)
        .build()
        .unwrap();
    let stacked = ServiceBuilder::new()
        .layer(ErrorDedupLayer::new(recorder.clone()).redact(pool))
        .layer(ModelFallbackLayer::new(chain()).served_by(true))
        .layer(RetryLayer::new(RetryPolicy::new()).served_by(true))
        .layer(TokenRotationLayer::new(pool.clone()).served_by(true))
        .layer(AuthShortCircuitLayer::with_pool(pool.clone()))
        .service(upstream.clone());
    [
        ("fused", Stack::new(fused.layer(upstream.clone()).map_response(|r| r.map(drop)))),
        ("stacked", Stack::new(stacked.map_response(|r| r.map(drop)))),
    ]
}

fn served_by(answer: &Response<()>) -> &str {
    let by = answer.extensions().get::<ServedBy>().unwrap();
    by.account.as_deref().unwrap()
}

fn poll_of(account: &str) -> Request<Body> {
    let mut poll = get();
    let options = RequestOptions::new().pin(account).label("poll");
    poll.extensions_mut().insert(options);
    poll
}

#[tokio::test(start_paused = true)]
async fn poll_with_a_401_never_resends_the_submit() {
    for which in 0..2 {
        let (recorder, upstream) = (Recorder::new(), Upstream::default());
        let pool = pool(&["one", "two"], &Recorder::new());
        let (name, service) = stacks(&pool, &recorder, &upstream)[which].clone();
        let mut owners = Vec::new();
        for _ in 0..2 {
            let answer = service.clone().oneshot(post()).await.unwrap();
            owners.push(served_by(&answer).to_owned());
        }
        assert_eq!(owners, ["one", "two"], "{name}");

        // The upstream starts to reject the token of account two between submit and poll.
        upstream.set_token("tok-two", Step::status(401));
        let answer = service.clone().oneshot(poll_of("two")).await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
        let cause = failure(&answer).unwrap();
        assert_eq!((cause.code, cause.origin), (Code::CredentialInvalid, Origin::Upstream));
        assert_eq!(answer.headers()["x-failover-auth"], "upstream; code=credential_invalid");
        assert_eq!(served_by(&answer), "two", "{name}");

        // While that is known, polls are answered locally, and no other account is used.
        let answer = service.clone().oneshot(poll_of("two")).await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
        let cause = failure(&answer).unwrap();
        assert_eq!((cause.code, cause.origin), (Code::CredentialInvalid, Origin::Local));

        let sent = upstream.sent();
        let methods: Vec<_> = sent.iter().map(|sent| sent.method.clone()).collect();
        assert_eq!(methods, [Method::POST, Method::POST, Method::GET], "{name}");
        assert_eq!(upstream.tokens(), ["tok-one", "tok-two", "tok-two"], "{name}");

        let failures = recorder.failures();
        let outcomes: Vec<_> = failures.iter().map(|failed| failed.outcome.clone()).collect();
        let expected =
            [Outcome::Answer(StatusCode::UNAUTHORIZED), Outcome::Local(Code::CredentialInvalid)];
        assert_eq!(outcomes, expected, "{name}");
        assert_eq!(failures[0].trail.len(), 1);
        assert_eq!(failures[0].trail[0].account.as_deref(), Some("two"));

        // The jobs of the other account continue, and so do those of two once it has a new token.
        let states: Vec<_> = pool.view().accounts.iter().map(|account| account.state).collect();
        assert_eq!(states, [State::Usable, State::Quarantined], "{name}");
        let answer = service.clone().oneshot(poll_of("one")).await.unwrap();
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, "one"), "{name}");
        pool.replace("two", Credential::bearer("tok-two-2").unwrap()).unwrap();
        let answer = service.clone().oneshot(poll_of("two")).await.unwrap();
        assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, "two"), "{name}");
        assert_eq!(upstream.tokens()[3..], ["tok-one", "tok-two-2"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn poll_stays_with_its_account_after_any_answer() {
    for status in [401, 402, 403, 404, 429, 500, 503, 529] {
        for which in 0..2 {
            let upstream = Upstream::default().token_forever("tok-two", Step::status(status));
            let pool = pool(&["one", "two", "three"], &Recorder::new());
            pool.cool_down("two", None, Duration::from_secs(1));
            let (name, service) = stacks(&pool, &Recorder::new(), &upstream)[which].clone();
            let answer = service.oneshot(poll_of("two")).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{name}");
            let tokens = upstream.tokens();
            assert!(!tokens.is_empty() && tokens.iter().all(|token| token == "tok-two"), "{name}");
            assert!(status != 401 || tokens.len() == 1, "{name}: {tokens:?}");
            assert!(upstream.sent().iter().all(|sent| sent.method == Method::GET), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn preferred_account_is_tried_first_and_another_serves_after_its_rejection() {
    let upstream = Upstream::default().token_forever("tok-two", Step::status(401));
    let pool = pool(&["one", "two"], &Recorder::new());
    for (name, service) in stacks(&pool, &Recorder::new(), &upstream) {
        pool.revive("two");
        for _ in 0..2 {
            let mut request = get();
            request.extensions_mut().insert(RequestOptions::new().prefer("two"));
            let answer = service.clone().oneshot(request).await.unwrap();
            assert_eq!((answer.status().as_u16(), served_by(&answer)), (200, "one"), "{name}");
        }
    }
    let once = ["tok-two", "tok-one", "tok-one"];
    assert_eq!(upstream.tokens(), [once, once].concat());
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn served_by_can_be_stored_and_read_back() {
    let upstream = Upstream::default();
    let pool = pool(&["one"], &Recorder::new());
    for (name, service) in stacks(&pool, &Recorder::new(), &upstream) {
        let answer = service.oneshot(post()).await.unwrap();
        let by = answer.extensions().get::<ServedBy>().unwrap();
        let stored = serde_json::to_string(by).unwrap();
        assert_eq!(stored, r#"{"account":"one","model":null,"attempts":1}"#, "{name}");
        assert_eq!(serde_json::from_str::<ServedBy>(&stored).unwrap(), *by);
    }
    // The output of an earlier or a later version.
    let by: ServedBy = serde_json::from_str(r#"{"account":"one","attempts":2,"more":[]}"#).unwrap();
    assert_eq!((by.account.as_deref(), by.model, by.attempts), (Some("one"), None, 2));
}

#[cfg(feature = "job-ids")]
mod job_ids {
    use tower_failover::pool::{Job, JobIds};

    use super::*;

    fn poll(job: &Job) -> Request<Body> {
        let mut poll =
            Request::get(format!("https://api.example.com/videos/{}", job.upstream_id()))
                .body(Body::default())
                .unwrap();
        poll.extensions_mut().insert(RequestOptions::new().pin_job(job));
        poll
    }

    #[tokio::test(start_paused = true)]
    async fn job_is_polled_with_the_account_that_made_it() {
        let upstream = Upstream::default();
        let pool = pool(&["one", "two", "three"], &Recorder::new());
        for (name, service) in stacks(&pool, &Recorder::new(), &upstream) {
            let (mut ids, mut made) = (Vec::new(), Vec::new());
            let job_ids = JobIds::new([7; 32]);
            for i in 0..7 {
                let answer = service.clone().oneshot(post()).await.unwrap();
                made.push(format!("tok-{}", served_by(&answer)));
                ids.push(job_ids.seal(served_by(&answer), &format!("job-{i}")).unwrap());
            }
            let submits = upstream.calls();
            for id in &ids {
                let job = job_ids.open(&pool, id).unwrap();
                assert_eq!(service.clone().oneshot(poll(&job)).await.unwrap().status(), 200);
            }
            assert_eq!(upstream.tokens()[submits..], made, "{name}");
            let paths: Vec<_> =
                upstream.sent()[submits..].iter().map(|sent| sent.uri.path().to_owned()).collect();
            assert_eq!((&*paths[0], &*paths[6]), ("/videos/job-0", "/videos/job-6"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn job_of_an_account_removed_after_opening_gets_no_other_account() {
        let upstream = Upstream::default();
        let pool = pool(&["one", "two"], &Recorder::new());
        let job_ids = JobIds::new([7; 32]);
        let job = job_ids.open(&pool, &job_ids.seal("two", "job-7").unwrap()).unwrap();
        pool.remove("two");
        for (name, service) in stacks(&pool, &Recorder::new(), &upstream) {
            let answer = service.oneshot(poll(&job)).await.unwrap();
            assert_eq!(answer.status(), 400, "{name}");
            let cause = failure(&answer).unwrap();
            assert_eq!((cause.code, cause.origin), (Code::PinUnknown, Origin::Local));
        }
        assert_eq!(upstream.calls(), 0);
    }
}
