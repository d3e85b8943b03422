//! I2: each failed request and each incident is reported once; each failed attempt of a failed
//! request is in exactly one trail; a success reports nothing, a dropped request is reported as
//! abandoned.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::future::{Either, join, select};
use http::Request;
use proptest::prelude::*;
use tower::{BoxError, Layer as _, Service, ServiceExt};
use tower_failover::{
    ErrorDedupLayer, Event, RetryLayer,
    classify::Origin,
    report::{Attempt, OutReason, ReporterHandle},
};

use super::{
    oracle,
    request_body::TestBody,
    runner::{Ended, Runner, paused, played, timeless},
    script::attempt_of,
    stack::{Answer, Erase, Layer, Promises, TestService, clone_of, stack},
    support::Recorder,
    upstream::{CredentialId, End, Sent},
    world::{World, id_of, patient, world},
};

/// The report that a request must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Failed,
    Recovered,
    Abandoned,
    Not,
}

/// Returns the failed attempts of a request, in the order in which they failed.
fn failed(attempts: Vec<Sent>) -> Vec<Sent> {
    let mut failed: Vec<_> =
        attempts.into_iter().filter(|sent| sent.answered() && !sent.verdict.is_success()).collect();
    failed.sort_by_key(|sent| match sent.end {
        End::Answered { seq, .. } => seq,
        _ => 0,
    });
    failed
}

fn expected(ended: &Ended, log: &[Sent], attempts: &[Sent]) -> Report {
    let success = match ended {
        Ended::Dropped => {
            return if attempts.is_empty() { Report::Not } else { Report::Abandoned };
        }
        Ended::Error(_) | Ended::Answer { cause: Some(_), .. } => false,
        Ended::Answer { headers, .. } => {
            attempt_of(headers).is_some_and(|n| log[n].verdict.is_success())
        }
    };
    match (success, attempts.is_empty()) {
        (false, _) => Report::Failed,
        (true, false) => Report::Recovered,
        (true, true) => Report::Not,
    }
}

fn reports(events: &[Event]) -> Vec<Report> {
    let report = |event: &Event| match event {
        Event::RequestFailed(_) => Report::Failed,
        Event::RequestRecovered(_) => Report::Recovered,
        _ => Report::Abandoned,
    };
    events.iter().map(report).collect()
}

/// Returns whether a line of a trail describes this attempt correctly.
fn is_line(line: &Attempt, sent: &Sent) -> bool {
    let name = match sent.step.status() {
        Some(_) => line.upstream_request_id.as_deref() == Some(&format!("up-{}", sent.n)),
        None => line.error.as_deref().is_some_and(|text| {
            text.split(": ").any(|part| part.ends_with(&format!("#{}", sent.n)))
        }),
    };
    name && line.status == sent.step.status()
        && line.verdict == sent.verdict.with_delay(line.verdict.delay())
        && line.account.as_deref()
            == sent
                .credential
                .map(|credential| id_of(credential.pool, credential.account))
                .as_deref()
        && line.generation == sent.credential.map(|credential| credential.generation)
        && line.credential == (sent.credential.is_some() || sent.own)
        && line.model.as_deref().is_none_or(|model| sent.model().is_none_or(|sent| sent == model))
}

fn requests_are_reported(runner: &Runner<'_>) -> Result<(), String> {
    let log = runner.upstream.log();
    for (id, ended) in &runner.ends {
        let events = runner.reports(*id);
        let attempts = failed(runner.attempts(*id));
        let want = match expected(ended, &log, &attempts) {
            Report::Not => vec![],
            one => vec![one],
        };
        if reports(&events) != want {
            return Err(format!("request {id}: {:?} in place of {want:?}", reports(&events)));
        }
        let Some(record) = events.first().and_then(Event::record) else { continue };
        let lines = &record.trail;
        let same = lines.len() == attempts.len()
            && lines.iter().zip(&attempts).all(|(line, sent)| is_line(line, sent));
        if !same {
            let attempts: Vec<_> =
                attempts.iter().map(|s| (s.n, s.credential, s.verdict)).collect();
            return Err(format!("request {id}: trail {lines:#?} for {attempts:?}"));
        }
        if record.sent == attempts.is_empty() {
            return Err(format!("request {id}: sent is {}", record.sent));
        }
        if let Ended::Answer { cause: Some(cause), status, .. } = ended {
            let local = cause.origin == Origin::Local;
            let right = match &record.outcome {
                tower_failover::report::Outcome::Local(code) => local && *code == cause.code,
                outcome => !local && outcome.status() == Some(*status),
            };
            if !right {
                return Err(format!("request {id}: {:?} for {cause:?}", record.outcome));
            }
        }
    }
    Ok(())
}

/// Counts the reports that each credential is out.
pub(crate) fn incidents(events: &[Event]) -> BTreeMap<CredentialId, usize> {
    let mut incidents = BTreeMap::new();
    for event in events {
        let out = match event {
            Event::AccountOut(out) => out,
            Event::PoolDead(dead) => &dead.cause,
            _ => continue,
        };
        if let OutReason::Rejected(_) = out.reason {
            let (pool, account) = out.account.id[1..].split_once('a').unwrap();
            let credential = CredentialId {
                pool: pool.parse().unwrap(),
                account: account.parse().unwrap(),
                generation: out.generation,
            };
            *incidents.entry(credential).or_default() += 1;
        }
    }
    incidents
}

proptest! {
    #[test]
    fn i02_exactly_once(world in world(), stack in stack()) {
        let promises = Promises(&stack);
        let (requests, reported, found) = played(&world, &stack, |runner| {
            let reported = incidents(&runner.recorder.events());
            (requests_are_reported(runner), reported, oracle::check_log(&runner.upstream, promises.foreign()))
        });
        if promises.exactly_once() {
            prop_assert_eq!(requests, Ok(()));
        }
        if promises.no_start_in_quarantine() {
            let known = |reported: BTreeMap<CredentialId, usize>| {
                reported.into_iter().filter(|(credential, _)| !found.vague.contains(credential)).collect::<Vec<_>>()
            };
            prop_assert_eq!(known(reported), known(found.incidents.clone()));
        }
    }

    #[test]
    fn i02_panicking_reporter_harms_no_request(world in patient(), stack in stack()) {
        let ends = |panics: bool| paused(async {
            let recorder = Recorder::new();
            let events = recorder.clone();
            let handle = ReporterHandle::new(move |event: &Event| {
                tower_failover::Reporter::report(&events, event);
                if panics {
                    std::panic::resume_unwind(Box::new("a bad reporter"));
                }
            });
            let mut runner = Runner::with_reporter(&world, &stack, recorder, handle);
            runner.play().await;
            (timeless(&runner.ends), runner.recorder.events().len())
        });
        prop_assert_eq!(ends(true), ends(false));
    }
}

/// A service that sends two clones of each request.
#[derive(Clone)]
struct Split {
    inner: TestService,
    /// Returns the worse answer of both instead of the first one.
    both: bool,
    /// The second clone has its own request id.
    named: bool,
}

impl Service<Request<TestBody>> for Split {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<TestBody>) -> Self::Future {
        let one = self.inner.clone().oneshot(clone_of(&request).unwrap());
        let mut second = request;
        if self.named {
            let name = second.headers()["x-request-id"].to_str().unwrap().to_owned();
            second.headers_mut().insert("x-request-id", format!("{name}-b").parse().unwrap());
        }
        let two = self.inner.clone().oneshot(second);
        if self.both {
            return Box::pin(async move {
                let bad = |end: &Result<Answer, BoxError>| {
                    end.as_ref().map_or(true, |answer| answer.status().as_u16() >= 400)
                };
                let (one, two) = join(one, two).await;
                if bad(&one) { one } else { two }
            });
        }
        Box::pin(async move {
            match select(one, two).await {
                Either::Left((first, _)) | Either::Right((first, _)) => first,
            }
        })
    }
}

fn split(world: &World, both: bool, below: &[Layer]) -> Result<(), String> {
    paused(async {
        let recorder = Recorder::new();
        let reporter = ReporterHandle::new(recorder.clone());
        let mut runner = Runner::with_reporter(world, below, recorder, reporter.clone());
        let inner = runner.service.clone();
        let classifier = runner.policy.classifier();
        let dedup = ErrorDedupLayer::new(reporter).report_recovered(true).classifier(classifier);
        let service = dedup.layer(Split { inner, both, named: false });
        let service = service.map_response(|answer| answer.map(http_body_util::BodyExt::boxed));
        runner.service = tower::util::BoxCloneService::new(service);
        runner.play().await;
        requests_are_reported(&runner)
    })
}

/// Sends two clones of a request that share a ledger and are reported separately: neither report
/// contains lines of the other.
fn split_apart(world: &World, both: bool) -> Result<(), String> {
    paused(async {
        let below = [Layer::Dedup, Layer::Retry, Layer::Rotation(0), Layer::Gate(0)];
        let mut runner = Runner::new(world, &below);
        let inner = runner.service.clone();
        let classifier = runner.policy.classifier();
        let retry = RetryLayer::new(world.retry().classifier(classifier));
        runner.service = Erase(retry).layer(Split { inner, both, named: true });
        runner.play().await;
        for id in runner.ends.keys() {
            for name in [format!("r-{id}"), format!("r-{id}-b")] {
                let events = runner.recorder.events();
                let records = events.iter().filter_map(Event::record);
                let mine = records.filter(|record| record.request_id.as_deref() == Some(&name));
                let reported: Vec<_> = mine.flat_map(|record| record.trail.clone()).collect();
                let mut attempts = runner.attempts(*id);
                attempts.retain(|sent| sent.headers["x-request-id"] == name.as_str());
                let attempts = failed(attempts);
                let same = reported.len() == attempts.len()
                    && reported.iter().zip(&attempts).all(|(line, sent)| is_line(line, sent));
                if !same {
                    return Err(format!("{name}: {reported:#?} for {attempts:#?}"));
                }
            }
        }
        Ok(())
    })
}

proptest! {
    #[test]
    fn i02_attempt_is_in_one_trail_in_any_split(mut world in world(), both: bool) {
        world.opinions.clear();
        prop_assert_eq!(split_apart(&world, both), Ok(()));
    }

    #[test]
    fn i02_trails_of_clones_in_flight_are_exact(
        mut world in world(),
        both: bool,
        below in proptest::sample::select(vec![
            vec![Layer::Retry],
            vec![Layer::Rotation(0)],
            vec![Layer::Retry, Layer::Rotation(0)],
            vec![Layer::Retry, Layer::Rotation(0), Layer::Gate(0)],
            vec![Layer::Dedup, Layer::Retry],
            vec![Layer::Fused(0, true)],
        ]),
    ) {
        // The splitting service takes a status of 400 or more for a failure, so no policy may say
        // otherwise.
        world.opinions.clear();
        prop_assert_eq!(split(&world, both, &below), Ok(()));
    }
}
