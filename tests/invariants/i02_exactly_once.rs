//! I2: each failed request is reported once, each incident once; each failed attempt of a failed
//! request stands in exactly one trail; a success reports nothing, a drop one abandoned request.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::{Either, join, select};
use http::Request;
use http_body_util::Full;
use proptest::prelude::*;
use tower::{BoxError, Layer as _, Service, ServiceExt};
use tower_failover::{
    ErrorDedupLayer, Origin, RetryLayer,
    report::{Attempt, Event, OutReason, ReporterHandle},
};

use super::{
    oracle,
    run::{Ended, Stage, paused, played},
    script::attempt_of,
    stack::{Answer, Erase, Layer, Promises, Svc, stack},
    support::Recorder,
    upstream::{End, Sent, Who},
    world::{World, id_of, patient, world},
};

/// How a request must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Failed,
    Recovered,
    Abandoned,
    Not,
}

/// The failed attempts of a request, in the order in which they failed.
fn failed(attempts: Vec<Sent>) -> Vec<Sent> {
    let mut failed: Vec<_> =
        attempts.into_iter().filter(|sent| sent.answered() && !sent.verdict.is_success()).collect();
    failed.sort_by_key(|sent| match sent.end {
        End::Answered { seq, .. } => seq,
        _ => 0,
    });
    failed
}

fn expected(ended: &Ended, log: &[Sent], attempts: &[Sent]) -> Told {
    let success = match ended {
        Ended::Dropped => {
            return if attempts.is_empty() { Told::Not } else { Told::Abandoned };
        }
        Ended::Error(_) | Ended::Answer { cause: Some(_), .. } => false,
        Ended::Answer { headers, .. } => {
            attempt_of(headers).is_some_and(|n| log[n].verdict.is_success())
        }
    };
    match (success, attempts.is_empty()) {
        (false, _) => Told::Failed,
        (true, false) => Told::Recovered,
        (true, true) => Told::Not,
    }
}

fn told(events: &[Event]) -> Vec<Told> {
    let told = |event: &Event| match event {
        Event::RequestFailed(_) => Told::Failed,
        Event::RequestRecovered(_) => Told::Recovered,
        _ => Told::Abandoned,
    };
    events.iter().map(told).collect()
}

/// Which attempt a line of a trail is, and whether it says so rightly.
fn is_line(line: &Attempt, sent: &Sent) -> bool {
    let name = match sent.step.status() {
        Some(_) => line.upstream_request_id.as_deref() == Some(&format!("up-{}", sent.n)),
        None => line.error.as_deref().is_some_and(|text| {
            text.split(": ").any(|part| part.ends_with(&format!("#{}", sent.n)))
        }),
    };
    name && line.status == sent.step.status()
        && line.verdict == sent.verdict.with_delay(line.verdict.delay())
        && line.account.as_deref() == sent.who.map(|who| id_of(who.pool, who.account)).as_deref()
        && line.generation == sent.who.map(|who| who.generation)
        && line.credential == (sent.who.is_some() || sent.own)
}

fn requests_are_told(stage: &Stage<'_>) -> Result<(), String> {
    let log = stage.double.log();
    for (id, ended) in &stage.ends {
        let events = stage.reports(*id);
        let attempts = failed(stage.attempts(*id));
        let want = match expected(ended, &log, &attempts) {
            Told::Not => vec![],
            one => vec![one],
        };
        if told(&events) != want {
            return Err(format!("request {id}: {:?} in place of {want:?}", told(&events)));
        }
        let Some(record) = events.first().and_then(Event::record) else { continue };
        let lines = &record.trail;
        let same = lines.len() == attempts.len()
            && lines.iter().zip(&attempts).all(|(line, sent)| is_line(line, sent));
        if !same {
            let attempts: Vec<_> = attempts.iter().map(|s| (s.n, s.who, s.verdict)).collect();
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

/// How often each credential was told to be out.
fn incidents(events: &[Event]) -> BTreeMap<Who, usize> {
    let mut incidents = BTreeMap::new();
    for event in events {
        let out = match event {
            Event::AccountOut(out) => out,
            Event::PoolDead(dead) => &dead.cause,
            _ => continue,
        };
        if let OutReason::Refused(_) = out.reason {
            let (pool, account) = out.account.id[1..].split_once('a').unwrap();
            let who = Who {
                pool: pool.parse().unwrap(),
                account: account.parse().unwrap(),
                generation: out.generation,
            };
            *incidents.entry(who).or_default() += 1;
        }
    }
    incidents
}

proptest! {
    #[test]
    fn i02_exactly_once(world in world(), stack in stack()) {
        let promises = Promises(&stack);
        let (requests, told, found) = played(&world, &stack, |stage| {
            let told = incidents(&stage.recorder.events());
            (requests_are_told(stage), told, oracle::walk(&stage.double).incidents)
        });
        if promises.exactly_once() {
            prop_assert_eq!(requests, Ok(()));
        }
        if promises.no_start_in_quarantine() {
            prop_assert_eq!(told, found);
        }
    }

    #[test]
    fn i02_a_reporter_that_panics_harms_nobody(world in patient(), stack in stack()) {
        let ends = |panics: bool| paused(async {
            let recorder = Recorder::new();
            let heard = recorder.clone();
            let handle = ReporterHandle::new(move |event: &Event| {
                tower_failover::Reporter::report(&heard, event);
                if panics {
                    std::panic::resume_unwind(Box::new("a bad reporter"));
                }
            });
            let mut stage = Stage::told(&world, &stack, recorder, handle);
            stage.play().await;
            (stage.ends.clone(), stage.recorder.events().len())
        });
        prop_assert_eq!(ends(true), ends(false));
    }
}

/// Sends two clones of each request; what becomes of them, `both` says.
#[derive(Clone)]
struct Twice {
    inner: Svc,
    /// The worse of both, in place of the first one.
    both: bool,
}

impl Service<Request<Full<Bytes>>> for Twice {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let one = self.inner.clone().oneshot(request.clone());
        let two = self.inner.clone().oneshot(request);
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

fn twice(world: &World, both: bool, below: &[Layer]) -> Result<(), String> {
    paused(async {
        let recorder = Recorder::new();
        let reporter = ReporterHandle::new(recorder.clone());
        let mut stage = Stage::told(world, below, recorder, reporter.clone());
        let inner = stage.service.clone();
        let classifier = stage.hostile.classifier();
        let dedup = ErrorDedupLayer::with_handle(reporter).recovered(true).classifier(classifier);
        let service = dedup.layer(Twice { inner, both });
        let service = service.map_response(|answer| answer.map(http_body_util::BodyExt::boxed));
        stage.service = tower::util::BoxCloneService::new(service);
        stage.play().await;
        requests_are_told(&stage)
    })
}

/// Which lines of which trails an attempt stands in, when several layers below a splitting one
/// report what they see.
fn lines(world: &World, both: bool) -> Result<(), String> {
    paused(async {
        let below = [Layer::Dedup, Layer::Retry, Layer::Rotation(0), Layer::Gate(0)];
        let mut stage = Stage::new(world, &below);
        let inner = stage.service.clone();
        let classifier = stage.hostile.classifier();
        let retry = RetryLayer::new(world.retry().classifier(classifier));
        stage.service = Erase(retry).layer(Twice { inner, both });
        stage.play().await;
        for id in stage.ends.keys() {
            let mut told: Vec<_> = stage
                .reports(*id)
                .iter()
                .filter_map(Event::record)
                .flat_map(|record| record.trail.clone())
                .collect();
            for sent in failed(stage.attempts(*id)) {
                let Some(at) = told.iter().position(|line| is_line(line, &sent)) else {
                    return Err(format!("request {id}: attempt {} is lost", sent.n));
                };
                told.remove(at);
            }
            if !told.is_empty() {
                return Err(format!("request {id}: told twice: {told:?}"));
            }
        }
        Ok(())
    })
}

/// Two clones of a request, below a layer that lets them share a ledger, each reported by itself:
/// neither takes the other's lines for its own.
fn apart(world: &World) -> Result<(), String> {
    paused(async {
        let mut stage = Stage::new(world, &[Layer::Dedup, Layer::Retry, Layer::Rotation(0)]);
        let inner = stage.service.clone();
        let classifier = stage.hostile.classifier();
        let retry = RetryLayer::new(world.retry().retries(0).classifier(classifier));
        stage.service = Erase(retry).layer(Twice { inner, both: true });
        stage.play().await;
        for (id, ended) in &stage.ends {
            let events = stage.reports(*id);
            let records: Vec<_> = events.iter().filter_map(Event::record).collect();
            let most = stage.world.plan.attempts as usize;
            if *ended != Ended::Dropped && records.len() > 2 {
                return Err(format!("request {id}: {} reports for two", records.len()));
            }
            for record in records {
                let last = record.trail.last().and_then(|line| line.status);
                let answered = record.outcome.status().filter(|_| events_failed(&events, record));
                if answered.is_some() && last != answered && !world.plan.replace {
                    return Err(format!("request {id}: {record:?}"));
                }
                if record.trail.len() > most + 1 {
                    return Err(format!("request {id}: {} lines", record.trail.len()));
                }
            }
        }
        Ok(())
    })
}

/// Whether this record is of a failure that the upstream answered.
fn events_failed(events: &[Event], record: &tower_failover::report::RequestRecord) -> bool {
    let answered = matches!(record.outcome, tower_failover::report::Outcome::Answer(_));
    answered
        && events.iter().any(|event| {
            event.is_failure() && event.record().is_some_and(|one| std::ptr::eq(one, record))
        })
}

proptest! {
    #[test]
    fn i02_each_attempt_stands_in_one_trail_whoever_splits(mut world in world(), both: bool) {
        world.opinions.clear();
        prop_assert_eq!(lines(&world, both), Ok(()));
        prop_assert_eq!(apart(&world), Ok(()));
    }

    #[test]
    fn i02_two_clones_in_flight_lose_and_double_nothing(
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
        // What looks like a failure to the splitter is one.
        world.opinions.clear();
        prop_assert_eq!(twice(&world, both, &below), Ok(()));
    }
}
