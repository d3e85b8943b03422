//! Builds policies, budgets and pools from the `config` of a case with the public setters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tower_failover::{
    Account, Classifier, Credential, Policy, Pool, Reason, RetryPolicy, Verdict,
    classify::{NonAuth, NonAuthError},
    credential::{RefreshReason, SourceError, Token},
    pool::{PoolBuilder, Quarantine, Selection},
    retry::{Backoff, Budget, Cost, Jitter, TokenBucket},
};

use crate::support::Recorder;

/// A bucket that records its balance after each paid retry.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) bucket: TokenBucket,
    left: Mutex<Vec<u64>>,
}

impl Watched {
    pub(crate) fn left_after_each(&self) -> Vec<u64> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Budget for Watched {
    fn withdraw(&self, cost: Cost) -> Option<u32> {
        let taken = self.bucket.withdraw(cost)?;
        let left = self.bucket.tokens();
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push(left);
        Some(taken)
    }

    fn succeeded(&self, taken: Option<u32>) {
        self.bucket.succeeded(taken);
    }

    fn refund(&self, taken: u32) {
        self.bucket.refund(taken);
    }
}

pub(crate) fn number(value: &Value) -> Option<u32> {
    value.as_u64().map(|number| u32::try_from(number).unwrap())
}

fn millis(value: &Value, default: u64) -> Duration {
    Duration::from_millis(value.as_u64().unwrap_or(default))
}

/// Builds a token bucket with these settings.
pub(crate) fn bucket(config: &Value) -> TokenBucket {
    let mut bucket = TokenBucket::new(number(&config["capacity"]).expect("a capacity"));
    if let Some(cost) = number(&config["retry_cost"]) {
        bucket = bucket.retry_cost(cost);
    }
    if let Some(cost) = number(&config["throttling_cost"]) {
        bucket = bucket.limited_cost(cost);
    }
    if let Some(cost) = number(&config["timeout_cost"]) {
        bucket = bucket.timeout_cost(cost);
    }
    if let Some(tokens) = number(&config["success_increment"]) {
        bucket = bucket.success(tokens);
    }
    if let Some(tokens) = number(&config["initial"]) {
        bucket = bucket.initial(tokens);
    }
    if let Some(tokens) = number(&config["refill_per_s"]) {
        bucket = bucket.refill(tokens);
    }
    bucket
}

/// Returns the budget of a case: its own member, or the whole config.
pub(crate) fn watched(config: &Value) -> Option<Arc<Watched>> {
    let budget = if config["kind"] == "token_bucket" { config } else { &config["budget"] };
    let watched = |bucket| Arc::new(Watched { bucket, left: Mutex::default() });
    budget.is_object().then(|| watched(bucket(budget)))
}

/// Builds the backoff of a case, with jitter.
pub(crate) fn backoff(config: &Value) -> Backoff {
    // The tables for the AWS bucket omit its first wait of one second.
    let first = if config["kind"] == "token_bucket" { 1000 } else { 100 };
    let initial = millis(&config["initial_backoff_ms"], first);
    let max = millis(&config["max_backoff_ms"], 20_000).max(initial);
    let jitter = match config["jitter"].as_str() {
        None | Some("none" | "fixed-1.0") => Jitter::NONE,
        Some(other) => panic!("no jitter is called {other}"),
    };
    Backoff::new(initial, max)
        .and_then(|backoff| backoff.multiplier(config["multiplier"].as_f64().unwrap_or(2.0)))
        .unwrap()
        .jitter(jitter)
}

/// Builds the retry policy of a case; `None` if its config has no retries.
pub(crate) fn retry(config: &Value, budget: Option<Arc<Watched>>) -> Option<RetryPolicy> {
    let speaks = [
        "profile",
        "kind",
        "max_attempts",
        "max_retries",
        "initial_backoff_ms",
        "budget",
        "policy",
        "max_credentials_per_request",
    ];
    if speaks.iter().all(|name| config[*name].is_null()) {
        return None;
    }
    let policy = RetryPolicy::new().backoff(backoff(config));
    let policy = match &config["max_backoff_ms"] {
        Value::Null => policy,
        longest => policy.max_wait(millis(longest, 0)),
    };
    let policy = match (number(&config["max_retries"]), config["profile"].as_str()) {
        (Some(retries), _) => policy.retries(retries),
        // Envoy's default number of retries.
        (None, Some("envoy")) => policy.retries(1),
        // The retries that the attempt limit of the layer allows.
        (None, _) => policy.retries(u32::MAX),
    };
    Some(match budget {
        Some(budget) => policy.budget(budget),
        None => policy.budget(tower_failover::retry::Unlimited),
    })
}

/// Builds the classifier for the statuses and errors of a case.
pub(crate) fn classifier(config: &Value) -> Classifier {
    let classifier = Classifier::default();
    if let Some(list) = config["retry_statuses"].as_array() {
        let list = list.clone();
        return classifier.policy(move |answer: &NonAuth<'_>| {
            let status = answer.status();
            let listed = list.iter().any(|entry| {
                *entry == status.as_u16() || *entry == "5xx" && status.is_server_error()
            });
            Some(if listed { Verdict::transient() } else { Verdict::Rejected })
        });
    }
    match config["policy"].as_str() {
        None => classifier,
        Some("unless error == reject") => classifier.policy(UnlessReject),
        Some(other) => panic!("no policy is called {other}"),
    }
}

struct UnlessReject;

impl Policy for UnlessReject {
    fn error(&self, error: &NonAuthError<'_>) -> Option<Verdict> {
        let rejected = error.chain().any(|link| link.to_string() == "reject");
        rejected.then_some(Verdict::Rejected)
    }
}

/// The number of calls to each account's source, by id.
pub(crate) type SourceCalls = Arc<Mutex<BTreeMap<String, u64>>>;

/// Builds the pool of a case, its accounts in order of preference: from `tokens`, otherwise from
/// the script.
pub(crate) fn pool(case: &Value, recorder: &Recorder) -> Option<PoolBuilder> {
    pool_with_source_calls(case, recorder, &SourceCalls::default())
}

/// Like `pool`, with a count of the calls to each account's source.
pub(crate) fn pool_with_source_calls(
    case: &Value,
    recorder: &Recorder,
    source_calls: &SourceCalls,
) -> Option<PoolBuilder> {
    let config = &case["config"];
    let accounts: Vec<Account> = match (&config["tokens"], &case["upstream"]["by_token"]) {
        (Value::Array(tokens), _) => {
            tokens.iter().map(|token| refreshed(account(token), config, source_calls)).collect()
        }
        (_, Value::Object(tokens)) => {
            tokens.keys().map(|token| account(&token.as_str().into())).collect()
        }
        _ => return None,
    };
    let mut builder = Pool::builder()
        .accounts(accounts)
        .any_origin()
        .selection(Selection::FillFirst)
        .reporter(recorder.clone())
        .cooling(!config["disable_cooling"].as_bool().unwrap_or(false));
    if let Some(seconds) = config["quarantine_s"].as_f64().or(config["base_ejection_s"].as_f64()) {
        let quarantine = Quarantine::new().untrusted(Duration::from_secs_f64(seconds));
        builder = builder.quarantine(quarantine);
    }
    Some(builder)
}

/// Adds the source of the case, which returns the listed tokens in order.
fn refreshed(account: Account, config: &Value, source_calls: &SourceCalls) -> Account {
    let Some(list) = config["refresh"][account.id()].as_array().cloned() else { return account };
    let (source_calls, id) = (source_calls.clone(), account.id().to_owned());
    account.source(move |_: RefreshReason| {
        let mut source_calls = source_calls.lock().unwrap();
        let count = source_calls.entry(id.clone()).or_default();
        let given = list.get(usize::try_from(*count).unwrap()).and_then(Value::as_str);
        *count += 1;
        let given = given.expect("the source is called more often than the case allows").to_owned();
        std::future::ready(match given.strip_prefix("error:") {
            Some("invalid_grant") => Err(SourceError::terminal(Reason::Revoked, "invalid_grant")),
            Some(other) => panic!("no error is called {other}"),
            None => Ok(Token::new(given)),
        })
    })
}

/// Builds an account of the `tokens` list: a name that is also its token, or an id and a value.
fn account(token: &Value) -> Account {
    let (id, value) = match token.as_str() {
        Some(name) => (name, name),
        None => (token["id"].as_str().unwrap(), token["value"].as_str().unwrap()),
    };
    Account::new(id, Credential::bearer(value).unwrap())
}
