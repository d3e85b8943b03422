//! Plays the scenarios, and counts.

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

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    Naive,
    Failover,
}

/// What came out, in numbers; `None` is what does not apply. A line of `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: u8,
    pub(crate) who: Who,
    /// Counted by the server.
    pub(crate) upstream_calls: usize,
    /// Those of them that it answered with a 401.
    #[serde(skip)]
    pub(crate) refused: usize,
    /// Videos that the server has billed.
    #[serde(skip)]
    pub(crate) billed: usize,
    /// What the naive retry has written.
    pub(crate) error_lines: Option<usize>,
    /// Failed requests that the reporter was told of.
    pub(crate) request_reports: Option<usize>,
    /// Incidents that the reporter was told of.
    pub(crate) incidents: Option<usize>,
    /// Scenes that were made.
    pub(crate) made: usize,
    /// What the scenes ended in.
    pub(crate) outcome: String,
}

impl Row {
    /// Nothing yet.
    pub(crate) fn new(scenario: u8, who: Who) -> Self {
        let of = |wanted| (who == wanted).then_some(0);
        Self {
            scenario,
            who,
            upstream_calls: 0,
            refused: 0,
            billed: 0,
            error_lines: of(Who::Naive),
            request_reports: of(Who::Failover),
            incidents: of(Who::Failover),
            made: 0,
            outcome: String::new(),
        }
    }

    /// With what the server has counted, and what became of the scenes.
    fn with(self, server: &VideoApi, scenes: &[Scene]) -> Self {
        let answers = server.answers();
        Self {
            upstream_calls: answers.len(),
            refused: answers.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count(),
            billed: server.billed(),
            made: scenes.iter().filter(|scene| scene.made).count(),
            outcome: outcome(scenes),
            ..self
        }
    }
}

/// One scenario, played by both.
pub(crate) struct Round {
    pub(crate) scenario: Scenario,
    pub(crate) naive: Row,
    /// Every line that the naive retry has written.
    pub(crate) lines: Vec<String>,
    pub(crate) failover: Row,
    /// Everything that the reporter was told.
    pub(crate) events: Vec<Event>,
}

/// Plays them all, each on servers of its own.
pub(crate) async fn run(options: &Options) -> Result<Vec<Round>, Error> {
    let models: Vec<String> = (1..=options.models).map(|i| format!("video-{i}")).collect();
    let mut rounds = Vec::new();
    for scenario in scenes::all(options) {
        if scenario.waits {
            // From here on time passes only while a client waits, and then at once.
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
    // It reads its tokens when it is started: for a new one it would have to be started again.
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
    let (reporter, told) = recorder();
    let pool = failover::pool(&server.url(), &scenario.tokens, reporter.clone())?;
    let client = failover::client(pool.clone(), models, reporter)?;
    let mut scenes = Vec::new();
    for job in jobs(scenario, copies) {
        if let (Some(new), true) = (&scenario.replaced_by, scenes.len() + 1 == scenario.scenes) {
            pool.replace(&failover::account(0), Credential::bearer(new)?)?;
        }
        scenes.push(failover::make(&client, &server.url(), &models[0], &job).await?);
    }
    let events = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
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

/// A reporter that remembers, and what it remembers.
fn recorder() -> (ReporterHandle, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let memory = told.clone();
    let reporter = ReporterHandle::new(move |event: &Event| {
        memory.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    });
    (reporter, told)
}

/// What the scenes ended in: each outcome once, as long as it does not change.
fn outcome(scenes: &[Scene]) -> String {
    let mut outcomes: Vec<&str> = scenes.iter().map(|scene| &*scene.outcome).collect();
    outcomes.dedup();
    outcomes.join(", then ")
}
