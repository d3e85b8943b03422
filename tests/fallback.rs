//! Fallback sends the original request with the next model.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use support::{Recorder, Sent, Step, Upstream, limit, pool, stack};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer,
    RequestOptions, RetryLayer, RetryPolicy, ServedBy, TokenRotationLayer,
    body::{Cloned, TryCloned},
    fallback::{ModelAccess, ModelAt, Rewritten},
    pool::Selection,
    report::{Followed, NotResent},
};

const BODY: &str = r#"{ "model" :"m1","n":1.0e2, "messages":["model"], "n":2 }"#;

fn chat(body: &str) -> Request<stack::Body> {
    Request::post("https://api.example.com/v1/chat?x=1")
        .header("content-type", "application/json; charset=utf-8")
        .header("content-length", body.len())
        .header("content-digest", "sha-256=:abc=:")
        .body(Full::from(body.to_owned()))
        .unwrap()
}

fn chain() -> ModelChain {
    ModelChain::list(["m1", "a-longer-model", "m3"]).unwrap()
}

fn overloaded() -> Step {
    Step::json(529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#)
}

fn body(sent: &Sent) -> &str {
    std::str::from_utf8(&sent.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn fallback_sends_the_original_body_with_only_the_model_changed() {
    for fused in [true, false] {
        let upstream = Upstream::script([overloaded()]);
        let layer = FailoverLayer::builder().models(chain()).served_by(true).build().unwrap();
        let answer = if fused {
            layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap()
        } else {
            let layer = ModelFallbackLayer::new(chain()).served_by(true);
            layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap()
        };
        assert_eq!(answer.status(), 200);
        let served = answer.extensions().get::<ServedBy>().unwrap();
        assert_eq!((served.model.as_deref(), served.attempts), (Some("a-longer-model"), 2));
        let sent = upstream.sent();
        assert_eq!(body(&sent[0]), BODY);
        let expected = BODY.replace("\"m1\"", "\"a-longer-model\"");
        assert_eq!(body(&sent[1]), expected);
        assert_eq!(sent[1].headers["content-length"], expected.len().to_string());
        assert!(sent[0].headers.contains_key("content-digest"));
        assert!(!sent[1].headers.contains_key("content-digest"));
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_visited_once_and_the_newest_answer_is_returned() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().otherwise(overloaded());
    let layer =
        FailoverLayer::builder().models(chain()).reporter(recorder.clone()).build().unwrap();
    let answer = layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (529, 3));
    let trail = &recorder.failures()[0].trail;
    let models: Vec<_> = trail.iter().map(|attempt| attempt.model.as_deref().unwrap()).collect();
    assert_eq!(models, ["m1", "a-longer-model", "m3"]);
    let followed: Vec<_> = trail.iter().map(|attempt| attempt.followed).collect();
    let last = Followed::NotResent(NotResent::NoFallback);
    assert_eq!(followed, [Followed::FellBack, Followed::FellBack, last]);
}

#[tokio::test(start_paused = true)]
async fn fallback_does_not_follow_a_401_or_a_perhaps_done_post() {
    for (status, why) in
        [(401, NotResent::Final), (500, NotResent::PerhapsDone), (404, NotResent::Final)]
    {
        let recorder = Recorder::new();
        let upstream = Upstream::statuses(&[status]);
        let layer =
            FailoverLayer::builder().models(chain()).reporter(recorder.clone()).build().unwrap();
        let answer = layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (status, 1));
        assert_eq!(recorder.failures()[0].trail[0].followed, Followed::NotResent(why));
    }
}

#[tokio::test(start_paused = true)]
async fn context_and_policy_faults_have_their_own_chains() {
    let too_long = Step::json(400, r#"{"error":{"code":"context_length_exceeded"}}"#);
    let forbidden = Step::json(400, r#"{"error":{"code":"content_policy_violation"}}"#);
    let chain = chain().when_too_long(["wide"]).unwrap().when_forbidden(["lax"]).unwrap();
    for (step, model) in [(too_long.clone(), "wide"), (forbidden, "lax")] {
        let upstream = Upstream::script([step]);
        let layer = FailoverLayer::builder().models(chain.clone()).build().unwrap();
        assert_eq!(layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap().status(), 200);
        assert!(body(&upstream.sent()[1]).contains(&format!("\"{model}\"")));
    }
    let upstream = Upstream::script([too_long]);
    let layer = FailoverLayer::builder().models(self::chain()).build().unwrap();
    assert_eq!(layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap().status(), 400);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn unchangeable_body_is_not_resent_and_the_trail_has_the_reason() {
    let coded = |body: &str| {
        let mut request = chat(body);
        request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        request
    };
    let plain = |body: &str| {
        let mut request = chat(body);
        request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        request
    };
    let cases = [
        (coded(BODY), NotResent::EncodedBody),
        (plain(BODY), NotResent::NotJson),
        (chat("{\"model\":\"m1\""), NotResent::NotJson),
        (chat(r#"{"model":"m1","mod\u0065l":"m1"}"#), NotResent::AmbiguousModel),
        (chat(r#"{"messages":[]}"#), NotResent::NoModel),
        (chat(r#"{"model":7}"#), NotResent::NoModel),
        (chat(r#"{"model":"unknown"}"#), NotResent::NoFallback),
    ];
    for (request, why) in cases {
        let recorder = Recorder::new();
        let upstream = Upstream::script([overloaded()]);
        let layer =
            FailoverLayer::builder().models(chain()).reporter(recorder.clone()).build().unwrap();
        let answer = layer.layer(upstream.clone()).oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (529, 1), "{why}");
        assert_eq!(recorder.failures()[0].trail[0].followed, Followed::NotResent(why));
    }
}

/// Reads and writes the model at the start of a body, as in `to m1: hi`.
struct InPrompt;

impl ModelAccess for InPrompt {
    fn read(&self, _: &http::request::Parts, body: Option<&Bytes>) -> Option<String> {
        let text = std::str::from_utf8(body?).ok()?;
        text.strip_prefix("to ")?.split_once(':').map(|(model, _)| model.to_owned())
    }

    fn write(
        &self,
        _: &mut http::request::Parts,
        body: Option<&Bytes>,
        model: &str,
    ) -> Option<Rewritten> {
        let text = std::str::from_utf8(body?).ok()?;
        let (_, rest) = text.split_once(':')?;
        Some(Rewritten::Body(format!("to {model}:{rest}").into()))
    }
}

#[tokio::test(start_paused = true)]
async fn model_is_read_in_a_path_a_query_a_header_or_by_user_code() {
    let request = |uri: &str, body: &str| {
        Request::post(uri).header("x-model", "m1").body(Full::from(body.to_owned())).unwrap()
    };
    let chain = ModelChain::list(["m1", "m/2 ü"]).unwrap();
    let cases = [
        (
            ModelAt::path_after("models"),
            request("https://a.example/v1/models/m1:generate?alt=sse", ""),
            "https://a.example/v1/models/m%2F2%20%C3%BC:generate?alt=sse",
            "",
        ),
        (
            ModelAt::query("model"),
            request("https://a.example/p?a=1&model=m1&b=2", ""),
            "https://a.example/p?a=1&model=m%2F2%20%C3%BC&b=2",
            "",
        ),
        (
            ModelAt::custom(InPrompt),
            request("https://a.example/", "to m1: hi"),
            "https://a.example/",
            "to m/2 ü: hi",
        ),
    ];
    for (at, request, uri, content) in cases {
        let upstream = Upstream::statuses(&[429]);
        let layer = FailoverLayer::builder().models(chain.clone()).model_at(at).build().unwrap();
        let answer = layer.layer(upstream.clone()).oneshot(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
        let sent = upstream.sent();
        assert_eq!(sent[1].uri.to_string(), uri);
        assert_eq!(body(&sent[1]), content);
    }
    let upstream = Upstream::statuses(&[429]);
    let at = ModelAt::header(http::HeaderName::from_static("x-model"));
    let chain = ModelChain::list(["m1", "m2"]).unwrap();
    let layer = FailoverLayer::builder().models(chain).model_at(at).build().unwrap();
    layer.layer(upstream.clone()).oneshot(request("https://a.example/", "")).await.unwrap();
    assert_eq!(upstream.sent()[1].headers["x-model"], "m2");
}

#[tokio::test(start_paused = true)]
async fn accounts_are_tried_before_models_and_cool_for_their_model_only() {
    for fused in [true, false] {
        let recorder = Recorder::new();
        let limited = Step::answer(429, &[("retry-after", "60")], "");
        let upstream = Upstream::script([limited.clone(), limited]);
        let pool = pool(&["a", "b"], &recorder);
        let mut service = if fused {
            let layer = FailoverLayer::builder()
                .models(chain())
                .retry(RetryPolicy::new().overloaded(false))
                .rotation(pool.clone())
                .build()
                .unwrap();
            tower::util::BoxCloneService::new(layer.layer(upstream.clone()))
        } else {
            let layers = ServiceBuilder::new()
                .layer(ErrorDedupLayer::new(recorder.clone()))
                .layer(ModelFallbackLayer::new(chain()).pool(pool.clone()))
                .layer(RetryLayer::new(RetryPolicy::new().overloaded(false)))
                .layer(TokenRotationLayer::new(pool.clone()))
                .layer(AuthShortCircuitLayer::with_pool(pool.clone()));
            let service = layers.service(upstream.clone());
            // One body type for both.
            let service = service.map_response(|answer| answer.map(|_| unreachable_body()));
            tower::util::BoxCloneService::new(service)
        };
        let service = &mut service;
        assert_eq!(service.oneshot(chat(BODY)).await.unwrap().status(), 200, "fused: {fused}");
        let sent = upstream.sent();
        let seen: Vec<_> = sent
            .iter()
            .map(|sent| (sent.token.as_deref().unwrap(), body(sent).contains("\"m1\"")))
            .collect();
        assert_eq!(seen[..2], [("tok-a", true), ("tok-b", true)]);
        assert!(!seen[2].1 && seen.len() == 3, "{seen:?}");
        // Both accounts are cooling for m1, and serve other models.
        let view = pool.view();
        assert!(view.accounts.iter().all(|account| account.model_cooldowns.len() == 1), "{view:?}");
        assert!(view.accounts.iter().all(|a| a.state == tower_failover::pool::State::Usable));
    }
}

fn unreachable_body() -> tower_failover::body::FailoverBody<stack::Body> {
    let layer = FailoverLayer::builder().models(chain()).build().unwrap();
    let answer = layer.layer(Upstream::default()).oneshot(chat(BODY));
    support::upstream::now(answer).unwrap().into_body()
}

#[tokio::test(start_paused = true)]
async fn request_for_a_model_that_cools_everywhere_goes_to_the_next_one_at_once() {
    let recorder = Recorder::new();
    let upstream = Upstream::default();
    let pool = pool(&["a"], &recorder);
    pool.cool_down("a", Some("m1"), Duration::from_secs(60));
    let layer = FailoverLayer::builder().models(chain()).rotation(pool).build().unwrap();
    let answer = layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(body(&upstream.sent()[0]).contains("a-longer-model"));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn model_that_only_dead_accounts_serve_is_skipped() {
    let recorder = Recorder::new();
    let upstream = Upstream::script([overloaded()]);
    let pool = tower_failover::Pool::builder()
        .account(stack::account("a").models(["m1", "m3"]))
        .account(stack::account("b").models(["a-longer-model"]))
        .any_origin()
        .reporter(recorder.clone())
        .build()
        .unwrap();
    pool.retire("b");
    let layer = FailoverLayer::builder().models(chain()).rotation(pool).build().unwrap();
    let answer = layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (200, 2));
    assert!(body(&upstream.sent()[1]).contains("\"m3\""));
    assert_eq!(upstream.tokens(), ["tok-a", "tok-a"]);
}

#[tokio::test(start_paused = true)]
async fn model_not_found_is_remembered() {
    let recorder = Recorder::new();
    let missing = Step::json(404, r#"{"error":{"code":"model_not_found"}}"#);
    let upstream = Upstream::script([missing]);
    let layer = FailoverLayer::builder().models(chain()).rotation(pool(&["a"], &recorder)).build();
    let service = layer.unwrap().layer(upstream.clone());
    for _ in 0..2 {
        assert_eq!(service.clone().oneshot(chat(BODY)).await.unwrap().status(), 200);
    }
    let first_model: Vec<_> =
        upstream.sent().iter().map(|sent| body(sent).contains("\"m1\"")).collect();
    assert_eq!(first_model, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn fallback_can_be_disabled_and_can_be_the_last_attempt() {
    let upstream = Upstream::script([overloaded()]);
    let layer = FailoverLayer::builder().models(chain()).build().unwrap();
    let mut request = chat(BODY);
    request.extensions_mut().insert(RequestOptions::new().no_fallback());
    assert_eq!(layer.layer(upstream.clone()).oneshot(request).await.unwrap().status(), 529);
    assert_eq!(upstream.calls(), 1);
    let upstream = Upstream::default().otherwise(overloaded());
    let mut request = chat(BODY);
    request.extensions_mut().insert(RequestOptions::new().attempts(limit(2)));
    assert_eq!(layer.layer(upstream.clone()).oneshot(request).await.unwrap().status(), 529);
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn model_named_in_the_options_too_is_replaced_in_the_body() {
    for fused in [true, false] {
        let upstream = Upstream::script([overloaded(), overloaded()]);
        let mut request = chat(BODY);
        request.extensions_mut().insert(RequestOptions::new().model("m1"));
        let status = if fused {
            let layer = FailoverLayer::builder().models(chain()).build().unwrap();
            layer.layer(upstream.clone()).oneshot(request).await.unwrap().status()
        } else {
            let layer = ModelFallbackLayer::new(chain());
            layer.layer(upstream.clone()).oneshot(request).await.unwrap().status()
        };
        assert_eq!((status.as_u16(), upstream.calls()), (200, 3));
        assert_eq!(body(&upstream.sent()[1]), BODY.replace("\"m1\"", "\"a-longer-model\""));
        assert_eq!(body(&upstream.sent()[2]), BODY.replace("\"m1\"", "\"m3\""));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_fallback_go_to_the_same_model() {
    let upstream = Upstream::script([overloaded(), Step::status(503), Step::status(200)]);
    let layer = FailoverLayer::builder().models(chain()).retry(RetryPolicy::new()).build().unwrap();
    assert_eq!(layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap().status(), 200);
    let sent = upstream.sent();
    assert!(body(&sent[1]).contains("a-longer-model") && sent[1].body == sent[2].body);
}

/// The last attempt takes the kept body; its line in the trail still names the caller's model.
#[tokio::test(start_paused = true)]
async fn trail_names_the_callers_model_after_the_last_attempt_too() {
    let recorder = Recorder::new();
    let upstream = Upstream::default().otherwise(Step::status(503));
    let builder = FailoverLayer::builder().models(chain()).retry(RetryPolicy::new().retries(1));
    let layer = builder.attempts(limit(2)).reporter(recorder.clone()).build().unwrap();
    let answer = layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.calls()), (503, 2));
    let trail = recorder.failures().remove(0).trail;
    let models: Vec<_> = trail.iter().map(|attempt| attempt.model.as_deref()).collect();
    assert_eq!(models, [Some("m1"), Some("m1")]);
}

#[tokio::test(start_paused = true)]
async fn served_by_names_the_model_that_failed_last() {
    for fused in [true, false] {
        for status in [404, 500, 529] {
            let upstream = Upstream::script([overloaded(), Step::status(status), overloaded()]);
            let answer = if fused {
                let layer = FailoverLayer::builder().models(chain()).served_by(true);
                let layer = layer.build().unwrap().layer(upstream.clone());
                layer.oneshot(chat(BODY)).await.unwrap()
            } else {
                let layer = ModelFallbackLayer::new(chain()).served_by(true);
                layer.layer(upstream.clone()).oneshot(chat(BODY)).await.unwrap()
            };
            let (model, calls) = if status == 529 { ("m3", 3) } else { ("a-longer-model", 2) };
            assert_eq!((answer.status().as_u16(), upstream.calls()), (status, calls));
            let served = answer.extensions().get::<ServedBy>().unwrap();
            assert_eq!(served.model.as_deref(), Some(model), "{status}, fused: {fused}");
        }
    }
}

#[test]
fn list_equals_the_map_of_each_model_to_the_following_ones() {
    let map =
        [("m1", vec!["a-longer-model", "m3"]), ("a-longer-model", vec!["m3"]), ("m3", vec![])];
    assert_eq!(chain(), ModelChain::map(map).unwrap());
}

#[tokio::test(start_paused = true)]
async fn body_with_its_own_clone_method_is_changed_if_it_can_be_made_of_bytes() {
    let keep = TryCloned::new(|body: &stack::Body| Some(body.clone()));
    for (keep, calls) in [(keep, 1), (keep.made_of(Full::new), 2)] {
        let recorder = Recorder::new();
        let upstream = Upstream::script([overloaded()]);
        let builder = FailoverLayer::builder().models(chain()).reporter(recorder.clone());
        let service = builder.body_strategy(keep).build().unwrap().layer(upstream.clone());
        let status = service.oneshot(chat(BODY)).await.unwrap().status();
        assert_eq!((status == 200, upstream.calls()), (calls == 2, calls));
        if let [_, second] = &upstream.sent()[..] {
            assert_eq!(body(second), BODY.replace("\"m1\"", "\"a-longer-model\""));
        } else {
            let why = recorder.failures()[0].trail[0].followed;
            assert_eq!(why, Followed::NotResent(NotResent::NoModel));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn model_in_a_body_that_is_only_cloned_is_not_read() {
    let recorder = Recorder::new();
    let upstream = Upstream::script([overloaded()]);
    let builder = FailoverLayer::builder().models(chain()).reporter(recorder.clone());
    let service = builder.body_strategy(Cloned).build().unwrap().layer(upstream.clone());
    assert_eq!(service.oneshot(chat(BODY)).await.unwrap().status(), 529);
    let followed = recorder.failures()[0].trail[0].followed;
    assert_eq!(followed, Followed::NotResent(NotResent::NoModel));
}

#[tokio::test(start_paused = true)]
async fn account_whose_model_began_to_cool_during_a_wait_is_not_chosen() {
    let wait = Duration::from_secs(1);
    let upstream = Upstream::script([Step::answer(503, &[("retry-after", "1")], "")]);
    let builder = stack::builder(&["a", "b"], &Recorder::new());
    let accounts = builder.selection(Selection::FillFirst).build().unwrap();
    let layer = FailoverLayer::builder()
        .models(chain())
        .rotation(accounts.clone())
        .retry(RetryPolicy::new().max_wait(wait))
        .attempts(limit(2))
        .build()
        .unwrap();
    let (answer, ()) = tokio::join!(layer.layer(upstream.clone()).oneshot(chat(BODY)), async {
        tokio::time::sleep(wait / 2).await;
        assert!(accounts.cool_down("a", Some("m1"), Duration::from_secs(60)));
    });
    assert_eq!(answer.unwrap().status(), 200);
    assert_eq!(upstream.tokens(), ["tok-a", "tok-b"]);
}
