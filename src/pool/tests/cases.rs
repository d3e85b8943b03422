//! The cases of `tests/cases/pool_selection_affinity.json`.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::support::*;
use crate::{
    credential::{Expires, RefreshWindows},
    pool::{Order, Pool, Selection, select::Query},
    stage::RequestOptions,
};

const CASES: &str = include_str!("../../../tests/cases/pool_selection_affinity.json");

/// When the next token is asked for, from when one came in.
fn asked_after(config: &Value) -> Option<u64> {
    let seconds = |value: &Value| value.as_u64().map(secs);
    let expires = seconds(&config["expires_in_s"]).map_or(Expires::Unknown, Expires::In);
    let lead = seconds(&config["lead_s"]).unwrap_or_default();
    let validity = expires.validity(b"sk-opaque", UNIX_EPOCH);
    let ask = RefreshWindows::fixed(lead, Duration::ZERO).schedule(&validity, None, 0.0).advisory?;
    Some(ask.as_secs())
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bench(config: &Value) -> Bench {
    let choose = match config["strategy"].as_str() {
        Some("fill-first") => Selection::FillFirst,
        Some("weighted") => Selection::Weighted,
        Some("round-robin") | None => Selection::RoundRobin,
        Some(other) => panic!("unknown strategy {other}"),
    };
    // The source orders by id; `Order::Listed` is the other side of its `disagreement`.
    let mut builder =
        Pool::builder().any_origin().may_be_empty().selection(choose).order(Order::ById);
    for id in strings(&config["tokens"]) {
        builder = builder.account(account(&id));
    }
    for (id, weight) in config["weights"].as_object().into_iter().flatten() {
        let weight = weight.as_u64().map_or(1, |weight| u32::try_from(weight).unwrap());
        builder = builder.account(account(id).weight(weight));
    }
    for (id, priority) in config["priority"].as_object().into_iter().flatten() {
        let priority = i32::try_from(priority.as_i64().unwrap()).unwrap();
        builder = builder.account(account(id).priority(priority));
    }
    if config["state"].is_object() {
        builder = builder.account(account("a"));
    }
    let mut bench = Bench::new(builder);
    for (id, model) in config["cooling"].as_object().into_iter().flatten() {
        let mut lease = bench.pinned(id).unwrap();
        lease.limited(model.as_str(), Some(secs(60)), &mut bench.clock());
    }
    if let Some(ago) = config["state"]["next_retry_s"].as_i64() {
        let ago = ago.unsigned_abs();
        bench.pinned("a").unwrap().limited(None, Some(secs(1)), &mut bench.clock());
        let recover = config["state"]["next_recover_s"].as_i64().unwrap().unsigned_abs();
        let quota = Some(secs(ago - recover));
        bench.pinned("a").unwrap().out_of_quota(quota, None, &mut bench.clock());
        assert!(bench.pick().is_err(), "it rests first");
        bench.pass(secs(ago));
    }
    bench
}

fn pick(bench: &Bench, session: Option<&str>, model: Option<&str>) -> String {
    let query = Query { sticky: session.map(str::as_bytes), model, ..ANY };
    let mut lease = bench.query(&query).unwrap();
    lease.succeeded(None);
    lease.id().to_string()
}

/// Checks that a caller who reads a header, and gives its value as the key, gets this session.
fn assert_sticky(id: &str, sent: &Value, session: &str) {
    let mut headers = HeaderMap::new();
    for (name, value) in sent.as_object().unwrap() {
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, value.as_str().unwrap().parse().unwrap());
    }
    for name in ["x-session-id", "X-Session-ID", "X-SESSION-ID"] {
        let options = RequestOptions::new().sticky(&headers[name]);
        assert_eq!(options.sticky_key(), Some(session.as_bytes()), "{id}");
    }
}

/// Whether the case was driven; panics when it came out otherwise.
fn drive(id: &str, case: &Value) {
    let (config, request, expect) = (&case["config"], &case["request"], &case["expect"]);
    let bench = bench(config);
    let mut checked = false;
    if let Some(lease) = expect["picked"].as_array() {
        let model = request["model"].as_str();
        let order: Vec<_> = lease.iter().map(|_| Value::from(pick(&bench, None, model))).collect();
        assert_eq!(order, *lease, "{id}");
        checked = true;
    }
    if let Some(counts) = expect["counts"].as_object() {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..request["picks"].as_u64().unwrap() {
            *seen.entry(pick(&bench, None, None)).or_default() += 1;
        }
        for (account, count) in counts {
            assert_eq!(seen.get(account).copied().unwrap_or(0), count.as_u64().unwrap(), "{id}");
        }
        checked = true;
    }
    if expect["each_session_constant"] == true {
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        for session in strings(&request["sessions"]) {
            let now = pick(&bench, Some(&session), None);
            assert_eq!(*owners.entry(session).or_insert_with(|| now.clone()), now, "{id}");
        }
        checked = true;
    }
    if expect["last_5_all"] == "y" {
        let x = pick(&bench, Some("s"), None);
        assert!(bench.pool.remove(&x));
        let y = pick(&bench, Some("s"), None);
        assert_ne!(x, y, "{id}");
        assert!((0..5).all(|_| pick(&bench, Some("s"), None) == y), "{id}");
        checked = true;
    }
    if let Some(blocked) = expect["blocked"].as_bool() {
        assert_eq!(bench.pick().is_err(), blocked, "{id}");
        checked = true;
    }
    if let Some(session) = expect["session"].as_str() {
        assert_sticky(id, &request["headers"], session);
        checked = true;
    }
    if let Some(asked) = expect.get("next_check_in_s") {
        assert_eq!(asked_after(config), asked.as_u64(), "{id}");
        checked = true;
    }
    assert!(checked, "{id}: nothing was checked");
}

#[test]
fn selection_agrees_with_the_collected_cases() {
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    for case in &cases {
        drive(case["id"].as_str().unwrap(), case);
    }
    assert_eq!(cases.len(), 13);
}
