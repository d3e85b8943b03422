//! `problem_json.json`: the documents of local answers. Cases that parse a document belong to the
//! server side.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tower_failover::{FailoverLayer, answer::Problem, short_circuit::AuthFailureMode};

use crate::{
    expect::Expect,
    rig::paused,
    support::{
        Recorder, Step, Upstream,
        cases::{self, Outcome},
        get, pool,
    },
};

/// Cases that parse a problem document.
const PARSED_ELSEWHERE: &[&str] = &[
    "problem_json.parse-out-of-credit",
    "problem_json.parse-empty-object",
    "problem_json.parse-type-missing",
    "problem_json.parse-charset-and-case",
    "problem_json.parse-unknown-extensions-ignored",
];

#[test]
fn problem_document_follows_rfc_9457() {
    for id in PARSED_ELSEWHERE {
        assert!(id.starts_with("problem_json.parse-"), "{id} is no case of reading");
    }
    cases::check("problem_json.json", &[], PARSED_ELSEWHERE, holds);
}

fn holds(case: &Value) -> Outcome {
    assert_eq!(case["config"]["mode"], "render");
    let status = case["request"]["status"].as_u64().unwrap();
    let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
    let answer = Problem::new(status).into_response();
    let body: Value = serde_json::from_slice(answer.body()).map_err(|e| e.to_string())?;
    let mut expect = Expect::of(case);
    let content_type = answer.headers()["content-type"].to_str().unwrap();
    expect.is("content_type", content_type);
    expect.is("title", body["title"].clone());
    expect.is("body_status", body["status"].clone());
    expect.is("http_status", answer.status().as_u16());
    expect.is("body", body);
    if let Some(never) = expect.take("must_not_contain") {
        let cause = case["request"]["cause"].as_str().unwrap();
        for document in local_answers(cause) {
            for word in never.as_array().unwrap() {
                let word = word.as_str().unwrap();
                expect.check(cause.contains(word), || format!("{word} is no part of the cause"));
                expect.check(!document.contains(word), || format!("{document} holds {word}"));
            }
        }
    }
    expect.end()
}

/// Returns the local answers that replace an upstream answer with internal details.
fn local_answers(cause: &str) -> Vec<String> {
    let step = Step::answer(401, &[("x-cause", cause)], cause);
    let recorder = Recorder::new();
    let upstream = Upstream::default().otherwise(step);
    let layer = FailoverLayer::builder()
        .rotation(pool(&["a"], &recorder))
        .auth_failure(AuthFailureMode::Replace)
        .build()
        .unwrap();
    let service = layer.layer(upstream);
    paused(async {
        let mut documents = Vec::new();
        // The second answer is local, without a call upstream.
        for _ in 0..2 {
            let request: Request<_> = get();
            let answer = service.clone().oneshot(request).await.unwrap();
            let (head, body) = answer.into_parts();
            assert_eq!(head.headers["content-type"], "application/problem+json");
            let body: Bytes = body.collect().await.unwrap().to_bytes();
            let answer = Response::from_parts(head, body);
            documents.push(format!("{answer:?}"));
        }
        documents
    })
}
