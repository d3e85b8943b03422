//! `error_body_classification.json`: real answers of providers, classified by the generic table.
//!
//! Each is classified with its body. A layer reads the body only if the verdict depends on it: not that of a 401, which
//! would only add the reason, unless a rule asks for it.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/upstream_case.rs"]
mod upstream_case;

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::Value;
use tower_failover::{
    Classifier, Reason, Verdict,
    classify::{Answer, ModelFault},
};

use cases::{Excused, Outcome};

const EXCUSED: &[Excused] = &[];

#[test]
fn error_bodies_are_classified() {
    cases::check("error_body_classification.json", EXCUSED, &[], holds);
}

fn holds(case: &Value) -> Outcome {
    let entry = &case["upstream"][0];
    let (head, body) = (upstream_case::head(entry), upstream_case::body(entry));
    let verdict = profile(case).classify(&head, body.as_deref(), SystemTime::UNIX_EPOCH);
    let class = class(verdict);
    let expect = &case["expect"];
    let alternatives = expect["alternatives"].as_array().into_iter().flatten();
    let mut accepted = alternatives.chain([&expect["class"]]);
    if !accepted.any(|accepted| accepted == class) {
        return Err(format!("{class} ({verdict:?}), and is to be {}", expect["class"]));
    }
    if expect["must_not"].as_array().into_iter().flatten().any(|harmful| harmful == class) {
        return Err(format!("must not be {class}"));
    }
    let wait = expect["retry_after_ms"].as_u64().map(Duration::from_millis);
    if wait.is_some() && verdict.delay() != wait {
        return Err(format!("waits for {:?}, and is to wait for {wait:?}", verdict.delay()));
    }
    Ok(())
}

/// Returns the settings for such an upstream; most need none.
fn profile(case: &Value) -> Classifier {
    let contains = |wanted: &'static [u8], reason: Reason| {
        move |answer: &Answer<'_>| {
            answer.body()?.windows(wanted.len()).any(|w| w == wanted).then_some(reason)
        }
    };
    let classifier = Classifier::default();
    match case["config"]["provider"].as_str() {
        Some("slack") => classifier.also_unauthorized_body(
            [StatusCode::OK],
            contains(br#""error":"token_expired""#, Reason::Expired),
        ),
        Some("oauth-token-endpoint") => classifier.also_unauthorized_body(
            [StatusCode::BAD_REQUEST],
            contains(br#""error":"invalid_grant""#, Reason::Revoked),
        ),
        _ => classifier,
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unauthorized(Reason::Expired) => "auth-expired",
        Verdict::Unauthorized(Reason::Revoked | Reason::Inactive) => "auth-revoked",
        Verdict::Unauthorized(_) => "auth-invalid",
        Verdict::Forbidden => "permission",
        Verdict::OutOfQuota { .. } => "quota-exhausted",
        Verdict::Limited { .. } => "rate-limited",
        Verdict::ModelFault { fault: ModelFault::ContextTooLong, .. } => "context-too-long",
        Verdict::ModelFault { fault: ModelFault::ContentPolicy, .. } => "content-policy",
        Verdict::ModelFault { .. } => "model-unavailable",
        Verdict::Transient { .. } => "transient",
        Verdict::Rejected => "bad-request",
        _ => "success",
    }
}
