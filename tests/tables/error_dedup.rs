//! `error_dedup.json`: the number of reports of a failure.

use serde_json::{Value, json};
use tower::Service;
use tower_failover::{Verdict, classify::NonAuth, pool::State};

use crate::{
    expect::Expect,
    rig::{Rig, Shape, both, paused, polled},
    script,
    support::cases::{self, Outcome},
};

/// Cases that refresh a credential.
const REFRESHED_ELSEWHERE: &[&str] = &["error_dedup.401-then-refresh-success-no-failure"];

#[test]
fn failure_is_reported_once() {
    cases::check("error_dedup.json", &[], REFRESHED_ELSEWHERE, holds);
}

fn holds(case: &Value) -> Outcome {
    if case["upstream"][0]["error"] == "cancelled-by-caller" {
        return cancelled(case);
    }
    both(case, rig, |seen, expect| {
        let failures = seen.rig.recorder.failures().len();
        expect.is("failure_events", failures);
        expect.is("events", failures);
        expect.is("dropped", seen.rig.reporting - failures.min(seen.rig.reporting));
        expect.is("success_events", seen.rig.recorder.recovered().len());
        if let Some(cooled) = expect.take("cooldown_hook") {
            let mut cooling = seen.upstream.tokens();
            cooling.retain(|id| seen.rig.account(id).state == State::Cooling);
            let all = seen.rig.ids_in(State::Cooling);
            expect.check(json!(cooling) == *cooled, || format!("{cooling:?} are cooling"));
            expect.is("both_in_cooldown", all.len() == 2);
        }
    })
}

/// Builds the rig. For a case with cooldowns, a policy classifies server errors as limits of the
/// account.
fn rig(case: &Value) -> Rig {
    let mut rig = Rig::of(case);
    if !case["expect"]["cooldown_hook"].is_null() {
        rig.classifier = rig.classifier.policy(|answer: &NonAuth<'_>| {
            answer.status().is_server_error().then_some(Verdict::limited())
        });
    }
    rig
}

/// Runs a case whose caller drops the request before the upstream answers.
fn cancelled(case: &Value) -> Outcome {
    for shape in [Shape::Fused, Shape::Stacked] {
        paused(async {
            let rig = Rig::of(case);
            let upstream = script::upstream(case);
            let mut service = rig.stack(shape, upstream.clone());
            let request = script::requests(case).remove(0);
            std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
            let mut call = Box::pin(service.call(request));
            let polled = polled(call.as_mut()).await;
            drop(call);
            let mut expect = Expect::of(case);
            expect.check(polled.is_pending(), || "it was over before it was dropped".into());
            let reached = (upstream.calls(), upstream.dropped());
            expect.check(reached == (1, 1), || format!("calls and drops: {reached:?}"));
            expect.is("failure_events", rig.recorder.failures().len());
            expect.end()
        })?;
    }
    Ok(())
}
