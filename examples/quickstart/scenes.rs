//! The scenarios, and their expected results.

use super::{
    failover::RETRIES,
    options::Options,
    play::{Row, Who},
    server::{IMAGE, Trouble},
};

/// One scenario, which both clients run in the same way.
pub(crate) struct Scenario {
    pub(crate) title: String,
    /// The lesson, in one sentence.
    pub(crate) shows: &'static str,
    pub(crate) scenes: usize,
    /// The tokens of the accounts, in order.
    pub(crate) tokens: Vec<String>,
    /// The tokens that the server accepts.
    pub(crate) accepted: Vec<String>,
    /// The token that replaces the first one before the last scene.
    pub(crate) replaced_by: Option<String>,
    /// Another fault of the server.
    pub(crate) trouble: Trouble,
    /// A client may wait, so the scenario runs with a clock that skips the wait.
    pub(crate) waits: bool,
    /// The first image of each scene.
    pub(crate) image: String,
    /// The expected result of the naive retry.
    pub(crate) naive: Row,
    /// The expected result of this crate.
    pub(crate) failover: Row,
}

/// Returns all scenarios.
pub(crate) fn all(options: &Options) -> Vec<Scenario> {
    vec![
        dead(options),
        first_dead(options),
        replaced(options),
        overloaded(options),
        one_second(options),
        all_busy(options),
        lost(options),
    ]
}

/// The outcome of a scene for which no token is accepted.
const REJECTED: &str = "401 credential_invalid";

/// Dead tokens only: no scene can be made.
fn dead(options: &Options) -> Scenario {
    let title = match options.dead {
        1 => "One dead token".to_owned(),
        dead => format!("{dead} dead tokens"),
    };
    let shows = "Each dead token costs one call and one report, not one for each model and scene.";
    Scenario { title, shows, ..all_dead(1, options.dead, options) }
}

/// Several accounts, the first one dead: the others serve.
fn first_dead(options: &Options) -> Scenario {
    let (scenes, tokens) = (options.scenes, tokens(options.accounts));
    let accepted = tokens[1..].to_vec();
    if accepted.is_empty() {
        let title = "One account, and it is dead".to_owned();
        let shows = "Without another account, later requests are answered without a call.";
        return Scenario { title, shows, ..all_dead(2, 1, options) };
    }
    Scenario {
        title: format!("{} accounts, the first one dead", tokens.len()),
        shows: "The next account serves, and the dead token is not sent again.",
        tokens,
        accepted,
        naive: naive_rejected(2, scenes, options),
        failover: Row {
            upstream_calls: scenes + 1,
            rejected: 1,
            incidents: Some(1),
            ..all_made(2, Who::Failover, options)
        },
        ..plain(2, options)
    }
}

/// The dead token is replaced at run time: the next scene is made.
fn replaced(options: &Options) -> Scenario {
    let scenes = options.scenes.max(2);
    let new = "token-1-renewed".to_owned();
    Scenario {
        title: "One dead token, replaced before the last scene".to_owned(),
        shows: "A replaced token is used by the next request, without a restart.",
        scenes,
        tokens: tokens(1),
        accepted: vec![new.clone()],
        replaced_by: Some(new),
        naive: naive_rejected(3, scenes, options),
        failover: Row {
            upstream_calls: 2,
            rejected: 1,
            billed: options.copies,
            request_reports: Some(scenes - 1),
            incidents: Some(1),
            made: 1,
            outcome: format!("{REJECTED}, then 200"),
            ..Row::new(3, Who::Failover)
        },
        ..plain(3, options)
    }
}

/// The first model is overloaded: the second one serves, and the answer names it.
fn overloaded(options: &Options) -> Scenario {
    let scenes = options.scenes;
    let scenario = Scenario { trouble: Trouble::FirstModel, ..plain(4, options) };
    if options.models == 1 {
        return Scenario {
            title: "One model, and it is overloaded".to_owned(),
            shows: "Without another model, the answer is passed on after one call.",
            naive: naive_failed(4, "529", options),
            failover: Row {
                upstream_calls: scenes,
                request_reports: Some(scenes),
                outcome: "529".to_owned(),
                ..scenario.failover
            },
            ..scenario
        };
    }
    Scenario {
        title: format!("{} models, the first one overloaded (529)", options.models),
        shows: "The next model serves, and the answer names it.",
        naive: Row {
            upstream_calls: 2 * scenes,
            error_lines: Some(scenes),
            ..all_made(4, Who::Naive, options)
        },
        failover: Row {
            upstream_calls: 2 * scenes,
            outcome: "200 by video-2".to_owned(),
            ..all_made(4, Who::Failover, options)
        },
        ..scenario
    }
}

/// The server is busy for a known time: after one wait, all scenes are made.
fn one_second(options: &Options) -> Scenario {
    let scenario = Scenario { trouble: Trouble::OneSecond, waits: true, ..plain(5, options) };
    Scenario {
        title: "Busy for one second (503, Retry-After: 1)".to_owned(),
        shows: "The delay that the server asks for is waited for once.",
        // It never waits, so the second never passes.
        naive: naive_failed(5, "503", options),
        failover: Row { upstream_calls: options.scenes + 1, ..all_made(5, Who::Failover, options) },
        ..scenario
    }
}

/// The server stays busy: each model is tried, and the retry budget of the film is used up.
fn all_busy(options: &Options) -> Scenario {
    let scenario = Scenario { trouble: Trouble::Busy, waits: true, ..plain(6, options) };
    // One request makes at most four attempts. The first request uses the whole budget.
    let first = (options.models + RETRIES as usize).min(4);
    let each = options.models.min(4);
    Scenario {
        title: format!("Every answer is 503, and {RETRIES} retries for the whole film"),
        shows: "All requests share one retry budget, so an outage does not multiply the calls.",
        naive: naive_failed(6, "503", options),
        failover: Row {
            upstream_calls: first + (options.scenes - 1) * each,
            request_reports: Some(options.scenes),
            outcome: "503".to_owned(),
            ..scenario.failover
        },
        ..scenario
    }
}

/// The first video is made and billed, and its answer is lost: the request is not resent.
fn lost(options: &Options) -> Scenario {
    let (scenes, copies) = (options.scenes, options.copies);
    let scenario = Scenario { trouble: Trouble::FirstAnswer, ..plain(7, options) };
    // The next model makes it again; without one, level 3 does, copy by copy.
    let again = if options.models == 1 { copies } else { 1 };
    Scenario {
        title: "The first answer is lost after the work was done".to_owned(),
        shows: "Work that may have been done is not requested again, so it is billed once.",
        naive: Row {
            upstream_calls: scenes + again,
            billed: (scenes + 1) * copies,
            error_lines: Some(1),
            ..all_made(7, Who::Naive, options)
        },
        failover: Row {
            upstream_calls: scenes,
            billed: scenes * copies,
            request_reports: Some(1),
            made: scenes - 1,
            outcome: if scenes == 1 { "no answer" } else { "no answer, then 200" }.to_owned(),
            ..scenario.failover
        },
        ..scenario
    }
}

/// All accounts are accepted, the server has no fault, and nothing is expected yet.
fn plain(number: u8, options: &Options) -> Scenario {
    let tokens = tokens(options.accounts);
    Scenario {
        title: String::new(),
        shows: "",
        scenes: options.scenes,
        accepted: tokens.clone(),
        tokens,
        replaced_by: None,
        trouble: Trouble::None,
        waits: false,
        image: IMAGE.to_owned(),
        naive: Row::new(number, Who::Naive),
        failover: Row::new(number, Who::Failover),
    }
}

/// `dead` tokens, and none that is accepted.
fn all_dead(number: u8, dead: usize, options: &Options) -> Scenario {
    let scenes = options.scenes;
    // Each is sent once; one request tries at most three accounts (`max_refusals`).
    let calls = dead.min(3 * scenes);
    Scenario {
        tokens: tokens(dead),
        accepted: Vec::new(),
        naive: naive_rejected(number, scenes, options),
        failover: Row {
            upstream_calls: calls,
            rejected: calls,
            request_reports: Some(scenes),
            // The last one is `pool_dead`, the others are `account_out`.
            incidents: Some(calls),
            outcome: REJECTED.to_owned(),
            ..Row::new(number, Who::Failover)
        },
        ..plain(number, options)
    }
}

/// The naive retry uses only its first token, dead or replaced.
fn naive_rejected(number: u8, scenes: usize, options: &Options) -> Row {
    let calls = naive_calls(options);
    Row {
        upstream_calls: scenes * calls,
        rejected: scenes * calls,
        error_lines: Some(scenes * (calls + 1)),
        outcome: "401".to_owned(),
        ..Row::new(number, Who::Naive)
    }
}

/// The naive retry has tried everything, and logged a line for each failed call.
fn naive_failed(number: u8, outcome: &str, options: &Options) -> Row {
    let calls = options.scenes * naive_calls(options);
    Row {
        upstream_calls: calls,
        error_lines: Some(calls),
        outcome: outcome.to_owned(),
        ..Row::new(number, Who::Naive)
    }
}

/// Returns the failed calls of the naive retry for a scene: level 1, and level 3 for each copy;
/// level 2 is for a 400.
fn naive_calls(options: &Options) -> usize {
    options.models + options.copies * options.models
}

/// Every scene is made, and every copy is billed once.
fn all_made(number: u8, who: Who, options: &Options) -> Row {
    let scenes = options.scenes;
    Row {
        made: scenes,
        billed: scenes * options.copies,
        outcome: "200".to_owned(),
        ..Row::new(number, who)
    }
}

fn tokens(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("token-{i}")).collect()
}
