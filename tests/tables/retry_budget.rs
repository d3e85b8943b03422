//! `retry_budget.json`: the shared budget of retries.

use std::time::Duration;

use serde_json::{Value, json};
use tower_failover::retry::{Budget, Cost, TokenBucket, WindowBudget};

use crate::{
    expect::Expect,
    profile,
    rig::{Rig, both, paused},
    support::cases::{self, Excused, Outcome},
};

const EXCUSED: &[Excused] = &[
    (
        "retry_budget.finagle-infinite",
        "without a budget there is nothing that could tell a balance of 100",
    ),
    (
        "retry_budget.grpc-throttle-threshold",
        "gRPC's throttle charges failures as well that are not retried; a budget here is charged \
         for retries",
    ),
    (
        "retry_budget.grpc-throttle-recovers",
        "gRPC's throttle counts in tenths and stops at half; a budget here is whole and stops when \
         it is empty",
    ),
];

#[test]
fn retry_budget_follows_its_profile() {
    cases::check("retry_budget.json", EXCUSED, &[], holds);
}

fn holds(case: &Value) -> Outcome {
    match case["form"].as_str() {
        Some("scripted") => both(case, Rig::of, |_, _| {}),
        Some("config") => {
            let mut expect = Expect::of(case);
            expect.is("config_error", window(&case["config"]).is_err());
            expect.end()
        }
        Some("ops") => paused(ops(case)),
        other => Err(format!("no driver for {other:?}")),
    }
}

/// A budget with its readable state.
enum Kind {
    Bucket(TokenBucket),
    Window(Box<WindowBudget>),
    /// No budget at all.
    Infinite,
}

impl Kind {
    fn of(config: &Value) -> Result<Self, String> {
        Ok(match config["kind"].as_str() {
            Some("token_bucket") => Self::Bucket(profile::bucket(config)),
            Some("percent_window") => {
                Self::Window(Box::new(window(config).map_err(|error| error.to_string())?))
            }
            Some("infinite") => Self::Infinite,
            other => return Err(format!("no budget of kind {other:?}")),
        })
    }

    fn withdraw(&self, cost: Cost) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.withdraw(cost).is_some(),
            Self::Window(window) => window.withdraw(cost).is_some(),
            Self::Infinite => true,
        }
    }

    fn deposit(&self) {
        match self {
            Self::Bucket(bucket) => bucket.succeeded(None),
            Self::Window(window) => window.deposit(),
            Self::Infinite => {}
        }
    }

    fn balance(&self) -> Value {
        match self {
            Self::Bucket(bucket) => json!(bucket.tokens()),
            Self::Window(window) => json!(window.balance()),
            Self::Infinite => Value::Null,
        }
    }
}

fn window(config: &Value) -> Result<WindowBudget, tower_failover::retry::BudgetError> {
    WindowBudget::new(
        Duration::from_secs(config["ttl_s"].as_u64().unwrap()),
        config["percent"].as_f64().unwrap(),
        profile::number(&config["min_per_s"]).unwrap(),
    )
}

async fn ops(case: &Value) -> Outcome {
    let budget = Kind::of(&case["config"])?;
    let mut expect = Expect::of(case);
    expect.is("initial_balance", budget.balance());
    let mut results = Vec::new();
    for _ in 0..case["request"]["repeat"].as_u64().unwrap_or(1) {
        for op in case["request"]["ops"].as_array().unwrap() {
            match op["op"].as_str().unwrap() {
                "withdraw" => results.push(budget.withdraw(match op["kind"].as_str() {
                    None => Cost::Retry,
                    Some("throttling") => Cost::Limited,
                    Some("timeout") => Cost::Timeout,
                    Some(other) => return Err(format!("nothing costs as {other}")),
                })),
                "deposit" => budget.deposit(),
                "advance_ms" => {
                    tokio::time::advance(Duration::from_millis(op["ms"].as_u64().unwrap())).await;
                }
                other => return Err(format!("no driver for {other}")),
            }
        }
    }
    let paid = results.iter().filter(|paid| **paid).count();
    if let Some(wanted) = expect.take("withdrawals") {
        let tolerance = expect.take("tolerance").and_then(Value::as_u64).unwrap_or(0);
        let off = wanted.as_u64().unwrap().abs_diff(paid as u64);
        expect.check(off <= tolerance, || format!("{paid} withdrawals, and are to be {wanted}"));
    }
    expect.is("results", results);
    expect.is("balance", budget.balance());
    expect.is("tokens", budget.balance());
    // The bucket has whole tokens only.
    expect.is("fraction", 0);
    expect.end()
}
