//! Runs the scenarios, and counts.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use serde::Serialize;
use tower_failover::{Credential, Event, report::ReporterHandle};

use super::{
    failover,
    job::{Error, Job, Scene},
    naive::Naive,
    options::Options,
    scenes::{self, Scenario},
    server::VideoApi,
};

/// The client of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    Naive,
    Failover,
}

/// The counted result, a line of `--json`. `None` does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: u8,
    pub(crate) who: Who,
    /// Counted by the server.
    pub(crate) upstream_calls: usize,
    /// Calls that the server answered with a 401.
    #[serde(skip)]
    pub(crate) rejected: usize,
    /// Videos that the server has billed.
    #[serde(skip)]
    pub(crate) billed: usize,
    /// Lines that the naive retry has logged.
    pub(crate) error_lines: Option<usize>,
    /// Failed requests that were reported.
    pub(crate) request_reports: Option<usize>,
    /// Incidents that were reported.
    pub(crate) incidents: Option<usize>,
    /// Scenes that were made.
    pub(crate) made: usize,
    /// The outcomes of the scenes.
    pub(crate) outcome: String,
}

impl Row {
    /// Builds an empty row.
    pub(crate) fn new(scenario: u8, who: Who) -> Self {
        let of = |wanted| (who == wanted).then_some(0);
        Self {
            scenario,
            who,
            upstream_calls: 0,
            rejected: 0,
            billed: 0,
            error_lines: of(Who::Naive),
            request_reports: of(Who::Failover),
            incidents: of(Who::Failover),
            made: 0,
            outcome: String::new(),
        }
    }

    /// Adds the counts of the server, and the outcomes of the scenes.
    fn with(self, server: &VideoApi, scenes: &[Scene]) -> Self {
        let answers = server.answers();
        Self {
            upstream_calls: answers.len(),
            rejected: answers.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(),
            billed: server.billed(),
            made: scenes.iter().filter(|scene| scene.made).count(),
            outcome: outcome(scenes),
            ..self
        }
    }
}

/// One scenario with its results.
pub(crate) struct Round {
    pub(crate) scenario: Scenario,
    pub(crate) naive: Row,
    /// Every line that the naive retry has logged.
    pub(crate) lines: Vec<String>,
    pub(crate) failover: Row,
    /// Every event that was reported.
    pub(crate) events: Vec<Event>,
}

/// Runs all scenarios, each client on a server of its own.
pub(crate) async fn run(options: &Options) -> Result<Vec<Round>, Error> {
    let models: Vec<String> = (1..=options.models).map(|i| format!("video-{i}")).collect();
    let mut rounds = Vec::new();
    for scenario in scenes::all(options) {
        if scenario.waits {
            // From here on, a client that waits continues at once.
            tokio::time::pause();
        }
        let (naive, lines) = play_naive(&scenario, &models, options.copies).await?;
        let (failover, events) = play_failover(&scenario, &models, options.copies).await?;
        if scenario.waits {
            tokio::time::resume();
        }
        rounds.push(Round { scenario, naive, lines, failover, events });
    }
    Ok(rounds)
}

async fn play_naive(
    scenario: &Scenario,
    models: &[String],
    copies: usize,
) -> Result<(Row, Vec<String>), Error> {
    let server = VideoApi::start(&scenario.accepted, models, scenario.trouble).await?;
    // It reads its tokens at start only: a new token needs a restart.
    let mut naive = Naive::new(&server.url(), &scenario.tokens, models);
    let mut scenes = Vec::new();
    for job in jobs(scenario, copies) {
        scenes.push(naive.make(&job).await?);
    }
    let row = Row {
        error_lines: Some(naive.lines.len()),
        ..Row::new(scenario.naive.scenario, Who::Naive).with(&server, &scenes)
    };
    Ok((row, naive.lines))
}

async fn play_failover(
    scenario: &Scenario,
    models: &[String],
    copies: usize,
) -> Result<(Row, Vec<Event>), Error> {
    let server = VideoApi::start(&scenario.accepted, models, scenario.trouble).await?;
    let (reporter, recorded) = recorder();
    let pool = failover::pool(&server.url(), &scenario.tokens, reporter.clone())?;
    let client = failover::client(pool.clone(), models, reporter)?;
    let mut scenes = Vec::new();
    for job in jobs(scenario, copies) {
        if let (Some(new), true) = (&scenario.replaced_by, scenes.len() + 1 == scenario.scenes) {
            pool.replace(&failover::account(0), Credential::bearer(new)?)?;
        }
        scenes.push(failover::make(&client, &server.url(), &models[0], &job).await?);
    }
    let events = recorded.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let row = Row {
        request_reports: Some(count(Event::is_failure)),
        incidents: Some(count(Event::is_incident)),
        ..Row::new(scenario.failover.scenario, Who::Failover).with(&server, &scenes)
    };
    Ok((row, events))
}

fn jobs(scenario: &Scenario, copies: usize) -> impl Iterator<Item = Job> {
    (1..=scenario.scenes).map(move |i| {
        let prompt = format!("scene {i}: a cat crosses the street");
        Job { prompt, image: scenario.image.clone(), copies }
    })
}

/// Returns a reporter, and the events that it records.
fn recorder() -> (ReporterHandle, Arc<Mutex<Vec<Event>>>) {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let memory = recorded.clone();
    let reporter = ReporterHandle::new(move |event: &Event| {
        memory.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    });
    (reporter, recorded)
}

/// Returns the outcomes of the scenes, without repetitions.
fn outcome(scenes: &[Scene]) -> String {
    let mut outcomes: Vec<&str> = scenes.iter().map(|scene| &*scene.outcome).collect();
    outcomes.dedup();
    outcomes.join(", then ")
}
