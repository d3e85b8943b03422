//! `model_fallback.json`: the next model and its request.

use serde_json::{Value, json};
use tower::{Layer, ServiceExt, util::BoxCloneService};
use tower_failover::{
    Classifier, ErrorDedupLayer, FailoverLayer, ModelChain, ModelFallbackLayer, Policy,
    RequestOptions, ServedBy, TokenRotationLayer, Verdict,
    classify::{NonAuth, NonAuthError},
    report::{Attempt, Followed},
};

use crate::{
    expect::Expect,
    profile,
    rig::{Shape, paused},
    script,
    support::{
        Recorder, Sent, Upstream,
        cases::{self, Excused, Outcome},
        stack::Body,
    },
};

/// These cases need the stream after an answer's head; an answer that has begun belongs to the
/// caller.
const STREAMED_ELSEWHERE: &[&str] =
    &["model_fallback.error-before-first-byte-falls-back", "model_fallback.after-commit-stay"];

const EXCUSED: &[Excused] = &[(
    "model_fallback.tensorzero-all-fail-aggregate",
    "DESIGN §3 I7: the caller gets the newest answer, never one made of several; all of them stand \
     in the trail of the report, in order",
)];

#[test]
fn next_model_is_used_if_it_may_help() {
    let cases = cases::load("model_fallback.json");
    let streamed = |case: &&Value| case["request"]["stream"] == true;
    let streamed: Vec<_> = cases.iter().filter(streamed).map(cases::id).collect();
    assert_eq!(streamed, STREAMED_ELSEWHERE, "the cases with streams");
    cases::check("model_fallback.json", EXCUSED, STREAMED_ELSEWHERE, |case| {
        for shape in [Shape::Fused, Shape::Stacked] {
            paused(holds(case, shape)).map_err(|what| format!("{shape:?}: {what}"))?;
        }
        Ok(())
    });
}

/// The trail contains the models that the excused case expects.
#[test]
fn trail_names_all_failed_models_in_order() {
    let cases = cases::load("model_fallback.json");
    let case = cases.iter().find(|case| cases::id(case) == EXCUSED[0].0).unwrap();
    for shape in [Shape::Fused, Shape::Stacked] {
        let seen = paused(run(case, shape, chain(case, true)));
        let failures = seen.recorder.failures();
        let models =
            |trail: &[Attempt]| trail.iter().map(|it| json!(it.model.as_deref())).collect();
        let models: Vec<Value> = models(&failures[0].trail);
        assert_eq!(json!(models), case["expect"]["causes_in_order"]);
        assert_eq!(failures.len(), 1);
        assert_eq!(seen.answer.unwrap().0, 500);
    }
}

/// The observations of a case.
struct Seen {
    upstream: Upstream,
    recorder: Recorder,
    /// The status and the model that served.
    answer: Result<(u16, Option<String>), String>,
}

fn names(list: &Value) -> Option<Vec<String>> {
    let list = list.as_array()?;
    Some(list.iter().map(|model| model.as_str().unwrap().to_owned()).collect())
}

fn chain(case: &Value, special: bool) -> ModelChain {
    let config = &case["config"];
    let mut chain = ModelChain::list(names(&config["models"]).unwrap()).unwrap();
    if let (Some(list), true) = (names(&config["context_window_fallbacks"]), special) {
        chain = chain.when_too_long(list).unwrap();
    }
    if let (Some(list), true) = (names(&config["content_policy_fallbacks"]), special) {
        chain = chain.when_forbidden(list).unwrap();
    }
    chain
}

/// A policy that classifies every failure as rejected.
struct Never;

impl Policy for Never {
    fn answer(&self, _: &NonAuth<'_>) -> Option<Verdict> {
        Some(Verdict::Rejected)
    }

    fn error(&self, _: &NonAuthError<'_>) -> Option<Verdict> {
        Some(Verdict::Rejected)
    }
}

fn classifier(case: &Value) -> Classifier {
    let classifier = Classifier::default();
    if case["config"]["handle"] == "never" {
        return classifier.policy(Never);
    }
    let Some(list) = case["config"]["on_status_codes"].as_array().cloned() else {
        return classifier;
    };
    classifier.policy(move |answer: &NonAuth<'_>| {
        let listed = list.iter().any(|status| *status == answer.status().as_u16());
        (!listed).then_some(Verdict::Rejected)
    })
}

fn request(case: &Value) -> http::Request<Body> {
    let request = case["request"].as_object().unwrap();
    for (member, _) in request {
        assert!(["body", "disable_fallbacks"].contains(&member.as_str()), "{member}");
    }
    let body = match &case["request"]["body"] {
        Value::Null => json!({"model": case["config"]["models"][0]}),
        body => body.clone(),
    };
    let body = body.to_string();
    // Repeating a completion is harmless: the origins of these cases repeat it after a 500.
    let mut options = RequestOptions::new().repeatable();
    if case["request"]["disable_fallbacks"] == true {
        options = options.no_fallback();
    }
    http::Request::post("https://api.example.com/v1/messages")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .header("content-digest", "sha-256=:abc=:")
        .extension(options)
        .body(Body::from(body))
        .unwrap()
}

/// The members of `config` that a run supports.
const MEMBERS: [&str; 6] = [
    "models",
    "tokens",
    "handle",
    "on_status_codes",
    "context_window_fallbacks",
    "content_policy_fallbacks",
];

async fn run(case: &Value, shape: Shape, chain: ModelChain) -> Seen {
    for (member, _) in case["config"].as_object().unwrap() {
        assert!(MEMBERS.contains(&member.as_str()), "no profile has `{member}`");
    }
    let recorder = Recorder::new();
    let mut upstream = Upstream::default();
    for (model, list) in case["upstream"]["by_model"].as_object().unwrap() {
        upstream = upstream.model(model, script::steps(list, None));
    }
    let tokens = !case["config"]["tokens"].is_null();
    let pool = tokens.then(|| profile::pool(case, &Recorder::new()).unwrap().build().unwrap());
    let service = match shape {
        Shape::Fused => {
            let mut builder = FailoverLayer::builder()
                .models(chain)
                .classifier(classifier(case))
                .reporter(recorder.clone())
                .report_recovered(true)
                .served_by(true);
            if let Some(pool) = pool {
                builder = builder.rotation(pool);
            }
            let service = builder.build().unwrap().layer(upstream.clone());
            BoxCloneService::new(service.map_response(|answer| answer.map(|_| ())))
        }
        Shape::Stacked => {
            let dedup = ErrorDedupLayer::new(recorder.clone()).report_recovered(true);
            let dedup = dedup.classifier(classifier(case));
            let models =
                ModelFallbackLayer::new(chain).classifier(classifier(case)).served_by(true);
            if let Some(pool) = pool {
                let rotation = TokenRotationLayer::new(pool).classifier(classifier(case));
                let service = dedup.layer(models.layer(rotation.layer(upstream.clone())));
                BoxCloneService::new(service.map_response(|answer| answer.map(|_| ())))
            } else {
                let service = dedup.layer(models.layer(upstream.clone()));
                BoxCloneService::new(service.map_response(|answer| answer.map(|_| ())))
            }
        }
    };
    let answer = service.oneshot(request(case)).await;
    let answer = answer.map_err(|error| error.to_string()).map(|answer| {
        let model = answer.extensions().get::<ServedBy>().and_then(|it| it.model.as_deref());
        (answer.status().as_u16(), model.map(str::to_owned))
    });
    Seen { upstream, recorder, answer }
}

fn model(sent: &Sent) -> Value {
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    body["model"].clone()
}

async fn holds(case: &Value, shape: Shape) -> Outcome {
    let mut expect = Expect::of(case);
    let seen = run(case, shape, chain(case, true)).await;
    let sent = seen.upstream.sent();
    expect.is("models_called", sent.iter().map(model).collect::<Vec<_>>());
    let calls: Vec<_> = sent.iter().map(|sent| json!([sent.token, model(sent)])).collect();
    expect.is("calls", calls);
    if let Some(wanted) = expect.take("final") {
        let end = match &seen.answer {
            Ok((status, _)) => json!({"status": status}),
            Err(error) => json!({"error": error}),
        };
        expect.check(end == *wanted, || format!("final: {end}"));
    }
    if let Some(wanted) = expect.take("without_list") {
        let without = run(case, shape, chain(case, false)).await.upstream.sent();
        let called: Vec<_> = without.iter().map(model).collect();
        expect.check(json!(called) == *wanted, || format!("without: {called:?}"));
    }
    let same = |sent: &Sent| {
        let mut body: Value = serde_json::from_slice(&sent.body).unwrap();
        body["model"] = case["request"]["body"]["model"].clone();
        // The order of the members matters too.
        let (sent, expected) = (body.to_string(), case["request"]["body"].to_string());
        sent == expected
    };
    expect.is("other_members_unchanged", sent.iter().all(same));
    let fits = |(nth, sent): (usize, &Sent)| {
        let lengths: Vec<_> = sent.headers.get_all("content-length").iter().collect();
        let digest = sent.headers.contains_key("content-digest");
        lengths == [&*sent.body.len().to_string()] && digest == (nth == 0)
    };
    expect.is("content_length_correct_each", sent.iter().enumerate().all(fits));
    // A model that was not called is not polled for readiness either.
    expect.is("backup_calls", sent.len() - 1);
    expect.is("backup_polls", seen.upstream.ready_polls() - 1);
    let trail: Vec<_> = seen.recorder.recovered().into_iter().flat_map(|it| it.trail).collect();
    expect.is("error_logs", trail.len());
    if let Some(wanted) = expect.take("raw_entries_order") {
        let failed = |attempt: &Attempt| format!("{}:error", attempt.model.as_deref().unwrap());
        let mut entries: Vec<_> = trail.iter().map(failed).collect();
        if let Ok((200, Some(model))) = &seen.answer {
            entries.push(format!("{model}:ok"));
        }
        expect.check(json!(entries) == *wanted, || format!("{entries:?}"));
        expect.check(trail.iter().all(|it| it.followed == Followed::FellBack), || {
            format!("{trail:?}")
        });
    }
    expect.end()
}
