//! Runs a case through the fused and the stacked layers and checks its expectations.

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_failover::{
    AuthShortCircuitLayer, ErrorDedupLayer, FailoverLayer, Pool, RequestOptions, RetryLayer,
    RetryPolicy, TokenRotationLayer,
    pool::{AccountView, PoolBuilder, State},
    report::{Followed, NotResent},
};

use crate::{
    expect::Expect,
    profile::{self, SourceCalls, Watched},
    script,
    support::{
        Recorder, Upstream,
        boxed::{Boxed, boxed},
        cases::Outcome,
        stack::Body,
    },
};

/// The composition of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Fused,
    Stacked,
}

/// The setup of a case.
pub(crate) struct Rig {
    pub(crate) recorder: Recorder,
    pub(crate) pool: Option<Pool>,
    /// The number of calls to each account's source.
    pub(crate) source_calls: SourceCalls,
    pub(crate) policy: Option<RetryPolicy>,
    pub(crate) budget: Option<std::sync::Arc<Watched>>,
    pub(crate) classifier: tower_failover::Classifier,
    pub(crate) attempts: u32,
    /// Whether a request can be sent only once.
    pub(crate) once: bool,
    /// The number of reporting layers.
    pub(crate) reporting: usize,
}

/// The members of `config` that a rig supports.
const KNOWN: [&str; 27] = [
    "refresh",
    "profile",
    "kind",
    "capacity",
    "retry_cost",
    "throttling_cost",
    "timeout_cost",
    "initial",
    "success_increment",
    "budget",
    "max_attempts",
    "max_retries",
    "initial_backoff_ms",
    "max_backoff_ms",
    "multiplier",
    "jitter",
    "retry_statuses",
    "policy",
    "tokens",
    "now",
    "disable_cooling",
    "max_credentials_per_request",
    "quarantine_s",
    "layers",
    "retry_on",
    "base_ejection_s",
    "consecutive_failures",
];

impl Rig {
    pub(crate) fn of(case: &Value) -> Self {
        Self::with_pool(case, |pool| pool)
    }

    /// Builds the rig of a case after a change of its pool builder.
    pub(crate) fn with_pool(case: &Value, change: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Self {
        let recorder = Recorder::new();
        let source_calls = SourceCalls::default();
        let pool = profile::pool_with_source_calls(case, &recorder, &source_calls);
        let pool = pool.map(|pool| change(pool).build().unwrap());
        Self::with(case, recorder, pool, source_calls)
    }

    fn with(
        case: &Value,
        recorder: Recorder,
        pool: Option<Pool>,
        source_calls: SourceCalls,
    ) -> Self {
        let config = &case["config"];
        for (member, _) in config.as_object().expect("a case has a config") {
            assert!(KNOWN.contains(&member.as_str()), "no profile has `{member}`");
        }
        let budget = profile::watched(config);
        let limit = [&config["max_attempts"], &config["max_credentials_per_request"]];
        Self {
            recorder,
            pool,
            source_calls,
            policy: profile::retry(config, budget.clone()),
            budget,
            classifier: profile::classifier(config),
            attempts: limit.into_iter().find_map(profile::number).unwrap_or(100),
            once: case["request"]["cloneable"] == false,
            reporting: [&config["layers"], &case["request"]["report_layers"]]
                .into_iter()
                .find_map(profile::number)
                .unwrap_or(1) as usize,
        }
    }

    /// Builds the stack over this service. Additional reporting layers are outermost.
    pub(crate) fn stack<S, RB>(&self, shape: Shape, inner: S) -> Boxed
    where
        S: Service<Request<Body>, Response = Response<RB>, Error = BoxError>,
        S: Clone + Send + 'static,
        S::Future: Send,
        RB: HttpBody<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError> + Send,
    {
        let mut service = match shape {
            Shape::Fused => self.fused(inner),
            Shape::Stacked => self.stacked(inner),
        };
        for _ in 1..self.reporting {
            service = boxed(ErrorDedupLayer::new(self.recorder.clone()).layer(service));
        }
        service
    }

    fn fused<S, RB>(&self, inner: S) -> Boxed
    where
        S: Service<Request<Body>, Response = Response<RB>, Error = BoxError>,
        S: Clone + Send + 'static,
        S::Future: Send,
        RB: HttpBody<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError> + Send,
    {
        let mut builder = FailoverLayer::builder()
            .reporter(self.recorder.clone())
            .report_recovered(true)
            .attempts(crate::support::limit(self.attempts))
            .deadline(DAY)
            .classifier(self.classifier.clone());
        if let Some(pool) = &self.pool {
            builder = builder.rotation(pool.clone());
        }
        if let Some(policy) = &self.policy {
            builder = builder.retry(policy.clone());
        }
        if self.reporting > 1 {
            builder = builder.outermost_of_several();
        }
        if self.once {
            boxed(builder.send_once().build().unwrap().layer(inner))
        } else {
            boxed(builder.build().unwrap().layer(inner))
        }
    }

    fn stacked<S, RB>(&self, inner: S) -> Boxed
    where
        S: Service<Request<Body>, Response = Response<RB>, Error = BoxError>,
        S: Clone + Send + 'static,
        S::Future: Send,
        RB: HttpBody<Data = Bytes> + Send + 'static,
        RB::Error: Into<BoxError> + Send,
    {
        let mut service = boxed(inner);
        if let Some(pool) = &self.pool {
            let gate = AuthShortCircuitLayer::with_pool(pool.clone());
            service = boxed(gate.classifier(self.classifier.clone()).layer(service));
            let rotation = TokenRotationLayer::new(pool.clone())
                .attempts(crate::support::limit(self.attempts))
                .deadline(DAY)
                .classifier(self.classifier.clone());
            service = if self.once {
                boxed(rotation.send_once().layer(service))
            } else {
                boxed(rotation.layer(service))
            };
        }
        if let Some(policy) = &self.policy {
            let retry = RetryLayer::new(policy.clone())
                .attempts(crate::support::limit(self.attempts))
                .deadline(DAY)
                .classifier(self.classifier.clone());
            service = if self.once {
                boxed(retry.send_once().layer(service))
            } else {
                boxed(retry.layer(service))
            };
        }
        let dedup = ErrorDedupLayer::new(self.recorder.clone()).report_recovered(true);
        boxed(dedup.classifier(self.classifier.clone()).layer(service))
    }

    /// Returns the view of an account.
    pub(crate) fn account(&self, id: &str) -> AccountView {
        let view = self.pool.as_ref().expect("the case has a pool").view();
        view.accounts.into_iter().find(|account| &*account.id == id).expect("such an account")
    }

    /// Returns the ids of the accounts in this state, in order.
    pub(crate) fn ids_in(&self, state: State) -> Vec<String> {
        let view = self.pool.as_ref().expect("the case has a pool").view();
        let accounts = view.accounts.into_iter().filter(|account| account.state == state);
        accounts.map(|account| account.id.to_string()).collect()
    }
}

/// A deadline longer than any case.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of one request.
#[derive(Debug)]
pub(crate) struct End {
    status: Option<u16>,
    error: Option<String>,
    headers: HeaderMap,
    /// The number of its calls.
    calls: usize,
}

/// The observations of a case.
pub(crate) struct Seen {
    pub(crate) rig: Rig,
    pub(crate) upstream: Upstream,
    pub(crate) ends: Vec<End>,
}

/// Runs a future with the clock paused.
pub(crate) fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Polls a future once.
pub(crate) async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Runs a case fused and stacked; `more` checks the members special to the table.
pub(crate) fn both(
    case: &Value,
    rig: impl Fn(&Value) -> Rig,
    more: impl Fn(&Seen, &mut Expect<'_>),
) -> Outcome {
    for shape in [Shape::Fused, Shape::Stacked] {
        let checked = paused(async {
            let seen = run(case, rig(case), shape).await;
            let mut expect = Expect::of(case);
            common(&seen, &mut expect);
            more(&seen, &mut expect);
            expect.end()
        });
        checked.map_err(|what| format!("{shape:?}: {what}"))?;
    }
    Ok(())
}

/// Sends the requests of a case in sequence.
async fn run(case: &Value, rig: Rig, shape: Shape) -> Seen {
    let upstream = script::upstream(case);
    let service = rig.stack(shape, upstream.clone());
    let mut scripts = script::scripts(case).into_iter();
    let mut ends = Vec::new();
    for mut request in script::requests(case) {
        if let Some(script) = scripts.next() {
            upstream.push(script);
        }
        if !case["config"]["max_credentials_per_request"].is_null() {
            // Another credential after a 500 is used only if the caller marks the request as
            // repeatable.
            request.extensions_mut().insert(RequestOptions::new().repeatable());
        }
        let before = upstream.calls();
        let outcome = service.clone().oneshot(request).await;
        let mut end = End {
            status: None,
            error: None,
            headers: HeaderMap::new(),
            calls: upstream.calls() - before,
        };
        match outcome {
            Ok(answer) => {
                end.status = Some(answer.status().as_u16());
                end.headers = answer.headers().clone();
                answer.into_body().collect().await.unwrap();
            }
            Err(error) => end.error = Some(error.to_string()),
        }
        ends.push(end);
    }
    Seen { rig, upstream, ends }
}

/// Checks the members that every table shares.
fn common(seen: &Seen, expect: &mut Expect<'_>) {
    let calls = seen.upstream.calls();
    for name in ["attempts", "requests", "upstream_calls", "calls_count"] {
        expect.is(name, calls);
    }
    expect.is("attempts_each", seen.ends.iter().map(|end| end.calls).collect::<Vec<_>>());
    expect.is("calls", seen.upstream.tokens());
    let waits: Vec<_> =
        seen.upstream.waits().iter().map(|wait| u64::try_from(wait.as_millis()).unwrap()).collect();
    expect.is("delays_ms", waits.clone());
    if let Some(least) = expect.take("delays_ms_at_least") {
        let least: Vec<_> =
            least.as_array().unwrap().iter().map(|ms| ms.as_u64().unwrap()).collect();
        let fits = waits.len() == least.len() && waits.iter().zip(&least).all(|(a, b)| a >= b);
        expect.check(fits, || format!("waits: {waits:?}, and at least {least:?}"));
    }
    expect.is("retry", calls > seen.ends.len());
    if let Some(budget) = &seen.rig.budget {
        expect.is("budget_after_each_retry", budget.left_after_each());
        for name in ["budget_final", "budget_after"] {
            expect.is(name, budget.bucket.tokens());
        }
    }
    let statuses: Vec<_> = seen.ends.iter().map(|end| json!(end.status)).collect();
    expect.is("final_each", statuses);
    if let Some(wanted) = expect.take("final") {
        ended(seen.ends.last().expect("a request"), wanted, expect);
    }
    if let Some(reason) = expect.take("stop_reason") {
        let stopped = stop_reason(seen);
        expect.check(reason.as_str() == Some(&stopped[..]), || {
            format!("stopped by {stopped}, and is to be by {reason}")
        });
    }
}

fn ended(end: &End, wanted: &Value, expect: &mut Expect<'_>) {
    for (member, wanted) in wanted.as_object().expect("an end is an object") {
        match member.as_str() {
            "status" => expect.check(json!(end.status) == *wanted, || format!("final: {end:?}")),
            "error" => expect.check(json!(end.error) == *wanted, || format!("final: {end:?}")),
            "headers" => {
                for (name, wanted) in wanted.as_object().expect("headers are an object") {
                    let value = end.headers.get(name).map(|value| value.to_str().unwrap());
                    expect.check(value == wanted.as_str(), || format!("final: {name}: {value:?}"));
                }
            }
            other => expect.check(false, || format!("final.{other}: not checked")),
        }
    }
}

/// Returns the reported reason for not resending the request.
fn stop_reason(seen: &Seen) -> String {
    let failures = seen.rig.recorder.failures();
    let last = failures.last().and_then(|record| record.trail.last());
    let Some(Followed::NotResent(why)) = last.map(|attempt| attempt.followed) else {
        return format!("nothing: {last:?}");
    };
    match why {
        // The attempt limit includes the first attempt, the retry limit does not.
        NotResent::Attempts | NotResent::Retries => "attempts".into(),
        other => other.as_str().into(),
    }
}
