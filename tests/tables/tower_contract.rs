//! `tower_contract.json`: the contract of a tower service towards callers and inner services.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::{Service, ServiceExt, limit::ConcurrencyLimit};
use tower_failover::pool::OwnCredential;

use crate::{
    expect::Expect,
    rig::{Rig, Shape, paused, polled},
    script,
    support::{
        Recorder, Upstream,
        boxed::Boxed,
        cases::{self, Outcome},
    },
};

#[test]
fn tower_contract_is_kept() {
    cases::check("tower_contract.json", &[], &[], |case| {
        for shape in [Shape::Fused, Shape::Stacked] {
            for own in [OwnCredential::Keep, OwnCredential::Replace] {
                paused(holds(case, shape, own))
                    .map_err(|what| format!("{shape:?}, {own:?}: {what}"))?;
            }
        }
        Ok(())
    });
}

/// The service between the stack and the upstream.
struct Inner {
    upstream: Upstream,
    permits: Arc<Semaphore>,
    limit: usize,
    service: Boxed,
}

fn inner(case: &Value, rig: &Rig, shape: Shape) -> Inner {
    let upstream = script::upstream(case);
    let text = case["config"]["inner"].as_str().unwrap_or_default();
    let limit = text.strip_prefix("ConcurrencyLimit(").and_then(|rest| rest.strip_suffix(')'));
    let limit = limit.map(|limit| limit.parse().unwrap());
    let permits = Arc::new(Semaphore::new(limit.unwrap_or(0)));
    let service = if limit.is_some() {
        rig.stack(shape, ConcurrencyLimit::with_semaphore(upstream.clone(), permits.clone()))
    } else {
        // Each clone of the scripted upstream panics if it is called unready.
        assert!(["", "panics if call without ready on the same instance"].contains(&text));
        rig.stack(shape, upstream.clone())
    };
    Inner { upstream, permits, limit: limit.unwrap_or(0), service }
}

/// Builds the rig of a case, always with a pool.
fn rig(case: &Value, own: OwnCredential) -> Rig {
    let mut bare = case.clone();
    bare["config"].as_object_mut().unwrap().remove("inner");
    let mut rig = Rig::with_pool(&bare, |pool| pool.own_credential(own));
    rig.pool.get_or_insert_with(|| {
        let builder = crate::support::stack::builder(&["a"], &Recorder::new());
        builder.own_credential(own).build().unwrap()
    });
    rig
}

/// Drops the first call while it is pending, and checks the second one.
async fn cancelled(case: &Value, inner: &Inner, wanted: &Value, expect: &mut Expect<'_>) {
    let mut first = inner.service.clone();
    std::future::poll_fn(|cx| first.poll_ready(cx)).await.unwrap();
    let mut call = Box::pin(first.call(script::requests(case).remove(0)));
    let polled = polled(call.as_mut()).await;
    expect.check(polled.is_pending(), || "the first call was over".into());
    drop(call);
    let dropped = inner.upstream.dropped();
    expect.check(json!(dropped) == *wanted, || format!("{dropped} cancelled"));
    let second = inner.service.clone().oneshot(script::requests(case).remove(0)).await;
    expect.is("second_completes", second.is_ok_and(|answer| answer.status() == 200));
}

async fn holds(case: &Value, shape: Shape, own: OwnCredential) -> Outcome {
    let rig = rig(case, own);
    let inner = inner(case, &rig, shape);
    let mut expect = Expect::of(case);
    if let Some(wanted) = expect.take("inner_cancelled") {
        cancelled(case, &inner, wanted, &mut expect).await;
        return expect.end();
    }
    // One instance is readied and called once for each step of the script; a resending stack needs
    // one call for all steps.
    let resends = rig.policy.is_some();
    let calls = if resends { 1 } else { case["upstream"].as_array().unwrap().len() };
    let mut service = inner.service.clone();
    for _ in 0..calls {
        let call = async {
            let request = script::requests(case).remove(0);
            service.ready().await?.call(request).await
        };
        let limit = std::time::Duration::from_secs(3600);
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => {
                let answer = answer.map_err(|error| error.to_string())?;
                expect.check(answer.status() == 200, || format!("{}", answer.status()));
            }
            Err(_) => return Err("a deadlock".into()),
        }
    }
    drop(service);
    // Each call returned an answer, so there was no panic and no deadlock.
    expect.is("panics", false);
    expect.is("deadlock", false);
    let sent = inner.upstream.sent();
    expect.is("calls", sent.len());
    expect.is("readiness_successes", inner.upstream.readied());
    expect.is("permits_leaked", inner.limit - inner.permits.available_permits());
    let values: Vec<_> = sent[0].headers.get_all("authorization").iter().collect();
    expect.is("authorization_count", values.len());
    expect.is("header_is_sensitive", values.iter().all(|value| value.is_sensitive()));
    if let Some(never) = expect.take("debug_must_not_contain") {
        let shown = format!("{:?} {:?}", sent[0].headers, rig.pool);
        for secret in never.as_array().unwrap() {
            let secret = secret.as_str().unwrap();
            let carried = sent[0].token.as_deref() == Some(secret);
            expect.check(carried, || format!("{secret} was not sent"));
            expect.check(!shown.contains(secret), || format!("{shown} shows {secret}"));
        }
    }
    expect.end()
}
