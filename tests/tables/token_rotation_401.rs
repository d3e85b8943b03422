//! `token_rotation_401.json`: the selected tokens and the state of rejected ones.

use std::time::Duration;

use serde_json::{Value, json};
use tower::ServiceExt;
use tower_failover::{
    Reason,
    pool::{PoolBuilder, Selection, State},
    report::OutReason,
};

use crate::{
    classified,
    expect::Expect,
    profile,
    rig::{Rig, Seen, Shape, both, paused},
    script,
    support::{
        Recorder,
        cases::{self, Excused, Outcome},
        get,
    },
};

const EXCUSED: &[Excused] = &[(
    "token_rotation_401.outlier-third-consecutive-ejects",
    "DESIGN §4: an answer takes an account out, never a count of failures; one \
     rejection is enough, and a transient fault is none",
)];

#[test]
fn rejected_token_is_not_sent_again() {
    cases::check("token_rotation_401.json", EXCUSED, &[], holds);
}

fn holds(case: &Value) -> Outcome {
    let request = case["request"].as_object().unwrap();
    match case["form"].as_str() {
        Some("scripted") if request.contains_key("stream") => classified::streamed(case),
        Some("scripted") => both(case, rig, rotated),
        Some("property") if !case["expect"]["ejected_at_ms"].is_null() => recovers(case),
        Some("property") if request.contains_key("report_failure_for") => unknown(case),
        Some("property") if request.contains_key("headers") => no_affinity(case),
        other => Err(format!("no driver for {other:?}")),
    }
}

/// Builds the rig. With sessions, and if a transient fault uses another account, the selection is
/// round robin; otherwise accounts serve in order of preference.
fn rig(case: &Value) -> Rig {
    let turns = [&case["request"]["sessions"], &case["config"]["max_credentials_per_request"]];
    let rig = Rig::with_pool(case, |pool| match turns {
        [Value::Null, Value::Null] => pool,
        _ => pool.selection(Selection::RoundRobin),
    });
    for token in case["config"]["tokens"].as_array().unwrap() {
        if let Some(ms) = token["cooling_ms"].as_u64() {
            let pool = rig.pool.as_ref().unwrap();
            assert!(pool.cool_down(token["id"].as_str().unwrap(), None, Duration::from_millis(ms)));
        }
    }
    rig
}

fn rotated(seen: &Seen, expect: &mut Expect<'_>) {
    // Out of use, for a time or until an operator acts.
    let out = [State::Quarantined, State::Retired].map(|state| seen.rig.ids_in(state)).concat();
    expect.is("quarantined", out);
    let source_calls = seen.rig.source_calls.lock().unwrap();
    expect.is("refreshes", json!(*source_calls));
    // The first token was loaded from the start.
    expect.is("token_calls", 1 + source_calls.values().sum::<u64>());
    let backup = seen.upstream.tokens().iter().filter(|token| **token == "tok-backup").count();
    expect.is("backup_calls", backup);
    let bodies = seen.upstream.sent().into_iter().map(|sent| sent.body);
    let bodies: Vec<_> = bodies.map(|body| String::from_utf8(body.to_vec()).unwrap()).collect();
    expect.is("bodies_seen", bodies);
    if let Some(seconds) = expect.take("cooldown_s") {
        let cooldown = seen.rig.account("a").usable_in;
        let seconds = Duration::from_secs(seconds.as_u64().unwrap());
        expect.check(cooldown == Some(seconds), || format!("the cooldown is {cooldown:?}"));
        let (a, b) = (seen.rig.account("a").state, seen.rig.account("b").state);
        expect.check((a, b) == (State::Cooling, State::Usable), || format!("{a:?}, {b:?}"));
    }
    if let Some(wanted) = expect.take("same_token_for_same_session") {
        let tokens = seen.upstream.tokens();
        let [s1, s2, again_s1, again_s2] = &tokens[..] else {
            return expect.check(false, || format!("{tokens:?}"));
        };
        let same = s1 == again_s1 && s2 == again_s2;
        expect.check(json!(same) == *wanted, || format!("{tokens:?}"));
    }
}

/// Checks that requests without a session take turns.
fn no_affinity(case: &Value) -> Outcome {
    let tokens = paused(async {
        let rig = Rig::with_pool(case, |pool| pool.selection(Selection::RoundRobin));
        let upstream = crate::support::Upstream::default();
        let service = rig.stack(Shape::Fused, upstream.clone());
        for _ in 0..4 {
            for request in script::requests(case) {
                service.clone().oneshot(request).await.unwrap();
            }
        }
        upstream.tokens()
    });
    let mut expect = Expect::of(case);
    let turns = tokens.iter().filter(|token| **token == tokens[0]).count();
    let key = if turns == 2 { Value::Null } else { json!(tokens[0]) };
    expect.is("affinity_key", key);
    expect.end()
}

/// Checks that a rejected account is used again after its quarantine.
fn recovers(case: &Value) -> Outcome {
    let mut expect = Expect::of(case);
    let times = expect.take("ejected_at_ms").and_then(Value::as_object).unwrap();
    for (at, ejected) in times {
        let sent = paused(async {
            let rig = Rig::of(case);
            let upstream = crate::support::Upstream::statuses(&[401]);
            let service = rig.stack(Shape::Fused, upstream.clone());
            service.clone().oneshot(get()).await.unwrap();
            tokio::time::advance(Duration::from_millis(at.parse().unwrap())).await;
            service.oneshot(get()).await.unwrap();
            upstream.calls() == 2
        });
        expect.check(json!(!sent) == *ejected, || format!("at {at} ms it was sent: {sent}"));
    }
    expect.end()
}

/// Checks that a report about an unknown account changes nothing.
fn unknown(case: &Value) -> Outcome {
    let id = case["request"]["report_failure_for"].as_str().unwrap();
    let recorder = Recorder::new();
    let builder = profile::pool(case, &recorder).unwrap();
    let pool = PoolBuilder::may_be_empty(builder).build().unwrap();
    let changed = [
        pool.invalidate(id, Reason::Invalid),
        pool.cool_down(id, None, Duration::from_secs(1)),
        pool.retire(id),
        pool.revive(id),
        pool.remove(id),
    ];
    let rejection = |event: &tower_failover::Event| match event {
        tower_failover::Event::AccountOut(out) => matches!(out.reason, OutReason::Rejected(_)),
        _ => true,
    };
    let reported = recorder.events().iter().any(rejection);
    let mut expect = Expect::of(case);
    expect.is("ejected", changed.contains(&true) || reported);
    expect.is("panics", false);
    expect.end()
}
