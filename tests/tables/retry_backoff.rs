//! `retry_backoff.json`: the waits between retries, and their limits.

use std::num::NonZeroU32;

use serde_json::{Value, json};
use tower::ServiceExt;
use tower_failover::report::{Followed, NotResent};

use crate::{
    expect::Expect,
    profile,
    rig::{Rig, Shape, both, paused},
    support::{
        Step, Upstream,
        cases::{self, Excused, Outcome},
        get,
    },
};

const EXCUSED: &[Excused] = &[
    (
        "retry_backoff.urllib3-configurable-max-1s",
        "urllib3's first retry does not wait at all: a backoff here grows from its first wait on",
    ),
    (
        "retry_backoff.grpc-attempts-include-the-first-and-cap-at-five",
        "gRPC's own limits: here one attempt is allowed and means that nothing is sent again, and \
         DESIGN §4 has no upper limit",
    ),
];

#[test]
fn retry_waits_and_limits_follow_the_profile() {
    cases::check("retry_backoff.json", EXCUSED, &[], holds);
}

fn holds(case: &Value) -> Outcome {
    if case["form"] == "scripted" {
        return both(case, Rig::of, |_, _| {});
    }
    let (config, request) = (&case["config"], &case["request"]);
    if config["profile"] == "urllib3" {
        let mut config = config.clone();
        let factor = config["backoff_factor"].as_f64().unwrap();
        config["initial_backoff_ms"] = json!((factor * 1000.0).round());
        return waits(case, &config, &request["retry_numbers"], 0);
    }
    match request.as_object().and_then(|request| request.keys().next()).map(String::as_str) {
        Some("retry_numbers") => waits(case, config, &request["retry_numbers"], 0),
        Some("retry_indexes_from_zero") => {
            waits(case, config, &request["retry_indexes_from_zero"], 1)
        }
        Some("after_attempts") => verdicts(case),
        Some("max_attempts_values") => limits(case),
        other => Err(format!("no driver for {other:?}")),
    }
}

/// Returns the waits before these retries, counted from 1 after adding `shift`.
fn waits(case: &Value, config: &Value, retries: &Value, shift: u32) -> Outcome {
    let backoff = profile::backoff(config);
    let wait = |retry: &Value| {
        let wait = backoff.delay(profile::number(retry).unwrap() + shift, 0.5);
        u64::try_from(wait.as_millis()).unwrap()
    };
    let waits: Vec<_> = retries.as_array().unwrap().iter().map(wait).collect();
    let mut expect = Expect::of(case);
    expect.is("delays_ms", waits);
    // A panic would have ended the test before.
    expect.is("panics", false);
    expect.end()
}

/// Returns the decision after each attempt of a request that always fails.
fn verdicts(case: &Value) -> Outcome {
    let calls: Vec<_> = case["request"]["after_attempts"].as_array().unwrap().iter().collect();
    let trail = paused(async {
        let rig = Rig::of(case);
        let upstream = Upstream::default().otherwise(Step::status(500));
        rig.stack(Shape::Fused, upstream).oneshot(get()).await.unwrap();
        rig.recorder.failures().remove(0).trail
    });
    let verdict = |attempt: &&Value| {
        let at = usize::try_from(attempt.as_u64().unwrap()).unwrap() - 1;
        match trail.get(at).map(|attempt| attempt.followed) {
            Some(Followed::Retried(_)) => "continue",
            Some(Followed::NotResent(NotResent::Attempts)) => "exhausted",
            other => panic!("after attempt {attempt}: {other:?}"),
        }
    };
    let mut expect = Expect::of(case);
    expect.is("verdicts", calls.iter().map(verdict).collect::<Vec<_>>());
    expect.end()
}

/// Checks the number of attempts that each limit allows.
fn limits(case: &Value) -> Outcome {
    let values = case["request"]["max_attempts_values"].as_array().unwrap();
    let effective = |value: &Value| {
        // A limit of zero does not compile.
        let Some(attempts) = NonZeroU32::new(profile::number(value).unwrap()) else {
            return json!("config_error");
        };
        let layer = tower_failover::FailoverLayer::builder()
            .retry(
                tower_failover::RetryPolicy::new()
                    .retries(u32::MAX)
                    .budget(tower_failover::retry::Unlimited),
            )
            .attempts(attempts)
            .build()
            .unwrap();
        let upstream = Upstream::default().otherwise(Step::status(500));
        let calls = upstream.clone();
        paused(tower::Layer::layer(&layer, upstream).oneshot(get())).unwrap();
        json!(calls.calls())
    };
    let mut expect = Expect::of(case);
    expect.is("effective", values.iter().map(effective).collect::<Vec<_>>());
    expect.end()
}
