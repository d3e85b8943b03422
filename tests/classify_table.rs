//! `status_classification.json`: the retried statuses, as far as classification alone decides.

#![allow(clippy::unwrap_used, reason = "a bad case is a panic")]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/classification.rs"]
mod classification;
#[path = "support/upstream_case.rs"]
mod upstream_case;

use std::time::SystemTime;

use http::{Method, StatusCode};
use serde_json::Value;
use tower_failover::{
    Classifier, Policy, Verdict,
    classify::{Delivery, ModelFault, NonAuth, NonAuthError},
};

use cases::Outcome;

#[test]
fn statuses_are_retried_as_their_profile_says() {
    cases::check("status_classification.json", &[], classification::STATUS_DRIVEN_ELSEWHERE, holds);
}

fn holds(case: &Value) -> Outcome {
    let entry = &case["upstream"][0];
    let classifier = profile(case);
    let verdict = if let Some(error) = upstream_case::error(entry) {
        classifier.classify_error(&error)
    } else {
        let (head, body) = (upstream_case::head(entry), upstream_case::body(entry));
        classifier.classify(&head, body.as_deref(), SystemTime::UNIX_EPOCH)
    };
    let method: Method = case["request"]["method"].as_str().unwrap().parse().unwrap();
    let expect = &case["expect"];
    let retry = expect["retry"].as_bool().ok_or("the case does not say whether it is retried")?;
    if retried(verdict, &method) != retry {
        return Err(format!("{verdict:?}: retry is to be {retry}"));
    }
    let limited = matches!(verdict, Verdict::Limited { .. });
    let fits = match expect["class"].as_str() {
        None => true,
        Some("throttling") => limited,
        // This profile has one word for both.
        Some("transient") => limited == (entry["status"] == 429),
        Some(other) => return Err(format!("no word for {other}")),
    };
    let throttling = expect["throttling"].as_bool().is_none_or(|wanted| wanted == limited);
    if fits && throttling { Ok(()) } else { Err(format!("{verdict:?} is another class")) }
}

/// Returns whether a retry layer with its defaults resends, by the verdict and the method (RFC 9110 §9.2.2).
fn retried(verdict: Verdict, method: &Method) -> bool {
    match verdict {
        Verdict::Limited { .. } | Verdict::ModelFault { fault: ModelFault::Overloaded, .. } => true,
        Verdict::Transient { .. } => {
            verdict.delivery() == Delivery::Refused || method.is_idempotent()
        }
        _ => false,
    }
}

/// Builds the profile of a case from public setters.
fn profile(case: &Value) -> Classifier {
    let config = &case["config"];
    let classifier = Classifier::default();
    match (config["profile"].as_str().unwrap(), config["retry_on"].as_str()) {
        ("envoy", Some("gateway-error")) => classifier.policy(|answer: &NonAuth<'_>| {
            let gateway = matches!(answer.status().as_u16(), 502..=504);
            (!gateway).then_some(Verdict::Rejected)
        }),
        ("envoy", Some("retriable-4xx")) => classifier.policy(|answer: &NonAuth<'_>| {
            let conflict = answer.status() == StatusCode::CONFLICT;
            Some(if conflict { Verdict::unavailable() } else { Verdict::Rejected })
        }),
        // These do not assume that no work was done.
        ("aip194-strict" | "urllib3", _) => classifier.policy(|answer: &NonAuth<'_>| {
            let unavailable = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
            unavailable.then_some(Verdict::transient())
        }),
        ("reqwest-default", _) => classifier.policy(|_: &NonAuth<'_>| Some(Verdict::Rejected)),
        ("go-retryablehttp", _) => classifier.policy(Hopeless),
        _ => classifier,
    }
}

/// Errors that a retry does not resolve.
struct Hopeless;

impl Policy for Hopeless {
    fn error(&self, error: &NonAuthError<'_>) -> Option<Verdict> {
        let text = error.downcast_ref::<std::io::Error>()?.to_string();
        let hopeless = ["tls-certificate", "too-many-redirects"].contains(&text.as_str());
        hopeless.then_some(Verdict::Rejected)
    }
}
