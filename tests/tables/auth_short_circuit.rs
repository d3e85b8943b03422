//! `auth_short_circuit.json`: failing fast with a dead credential.

use std::task::Poll;

use serde_json::Value;
use tower::{Service, ServiceExt};
use tower_failover::{Credential, Pool, credential::CredentialError, failure, pool::PoolError};

use crate::{
    expect::Expect,
    profile,
    rig::{Rig, Shape, both, paused},
    support::{
        Recorder, Upstream,
        cases::{self, Outcome},
        get, pool,
        upstream::now,
    },
};

#[test]
fn dead_credential_is_not_sent() {
    cases::check("auth_short_circuit.json", &[], &[], holds);
}

fn holds(case: &Value) -> Outcome {
    match (case["form"].as_str(), case["config"]["state"].as_str()) {
        (Some("scripted"), _) => both(case, Rig::of, |_, _| {}),
        (Some("property"), Some("open")) => paused(async {
            open(case, Shape::Fused)?;
            open(case, Shape::Stacked)
        }),
        (Some("property"), None) => nothing_configured(case),
        other => Err(format!("no driver for {other:?}")),
    }
}

/// Calls clones of a stack over a dead pool whose upstream is never ready.
fn open(case: &Value, shape: Shape) -> Outcome {
    let recorder = Recorder::new();
    let dead = pool(&["a"], &recorder);
    assert!(dead.invalidate("a", tower_failover::Reason::Invalid));
    let mut rig = Rig::of(&serde_json::json!({"config": {}, "upstream": []}));
    rig.pool = Some(dead);
    let upstream = Upstream::default();
    upstream.busy(true);
    let service = rig.stack(shape, upstream.clone());
    let clones = profile::number(&case["config"]["clones"]).unwrap_or(1);
    let mut outcomes = Vec::new();
    for _ in 0..clones {
        let mut service = service.clone();
        for _ in 0..2 {
            let ready = now(std::future::poll_fn(|cx| Poll::Ready(service.poll_ready(cx))));
            if !matches!(ready, Poll::Ready(Ok(()))) {
                return Err("the stack waits for an upstream that it does not call".into());
            }
        }
        let answer = now(service.call(get())).map_err(|error| error.to_string())?;
        let local = failure(&answer).is_some() && answer.status() == 401;
        outcomes.push(if local { "rejected" } else { "sent" });
    }
    let mut expect = Expect::of(case);
    expect.is("inner_readiness_polls", upstream.ready_polls());
    expect.is("inner_calls", upstream.calls());
    expect.is("outcome", outcomes[0]);
    expect.is("outcomes", outcomes);
    expect.end()
}

/// A pool without tokens cannot be built; one that may be empty answers before any call.
fn nothing_configured(case: &Value) -> Outcome {
    let recorder = Recorder::new();
    let builder = || profile::pool(case, &recorder).expect("an empty list is a list");
    let rejected = Pool::builder().any_origin().build().err() == Some(PoolError::Empty)
        && builder().build().is_err()
        && Credential::bearer("").err() == Some(CredentialError::Empty);
    let rig = Rig::with_pool(case, tower_failover::pool::PoolBuilder::may_be_empty);
    let upstream = Upstream::default();
    let service = rig.stack(Shape::Fused, upstream.clone());
    let answer = paused(service.oneshot(get())).map_err(|error| error.to_string())?;
    let code = failure(&answer).map(|cause| cause.code.as_str());
    let mut expect = Expect::of(case);
    expect.is("upstream_calls", upstream.calls());
    let wanted = expect.take("final");
    expect.check(wanted == Some(&serde_json::json!({"error": "no-credentials"})), || {
        format!("{wanted:?} is another end")
    });
    expect.check(rejected, || "a pool or a credential of nothing was built".into());
    expect.check(code == Some("pool_empty"), || format!("the answer is {code:?}"));
    expect.end()
}
