//! `retry_after.json`: all forms of a server's delay.

#![allow(clippy::unwrap_used, reason = "a bad case is a panic")]

#[path = "support/cases.rs"]
mod cases;
#[path = "support/classification.rs"]
mod classification;
#[path = "support/upstream_case.rs"]
mod upstream_case;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tower_failover::{Classifier, Verdict, classify::server_delay};

use cases::{Excused, Outcome};

const EXCUSED: &[Excused] = &[(
    "retry_after.sdk-falls-back-past-date",
    "a date in the past is a wait of zero, as in the Azure case of the same table",
)];

#[test]
fn delay_hints_are_read() {
    cases::check("retry_after.json", EXCUSED, classification::RETRY_AFTER_DRIVEN_ELSEWHERE, holds);
}

fn holds(case: &Value) -> Outcome {
    let entry = &case["upstream"][0];
    let (head, body) = (upstream_case::head(entry), upstream_case::body(entry));
    let now = now(case);
    let wanted = match &case["expect"]["header_delay_ms"] {
        Value::Null => None,
        ms => Some(Duration::from_millis(ms.as_u64().ok_or("not a number")?)),
    };
    let delay = server_delay(&head.headers, body.as_deref(), now);
    if delay != wanted {
        return Err(format!("{delay:?}, and is to be {wanted:?}"));
    }
    if case["expect"]["class"] == "rate-limited" {
        let verdict = Classifier::default().classify(&head, body.as_deref(), now);
        if verdict != Verdict::limited().with_delay(wanted) {
            return Err(format!("{verdict:?} is not limited"));
        }
    }
    Ok(())
}

fn now(case: &Value) -> SystemTime {
    match case["config"]["now"].as_str() {
        Some(now) => humantime::parse_rfc3339(now).unwrap(),
        None => UNIX_EPOCH,
    }
}
