//! The scenarios, and what is promised of them.

use super::{
    failover::RETRIES,
    options::Options,
    play::{Row, Who},
    server::{IMAGE, Trouble},
};

/// What is to be played, by both in the same way.
pub(crate) struct Scenario {
    pub(crate) title: String,
    pub(crate) scenes: usize,
    /// The accounts' tokens, in order.
    pub(crate) tokens: Vec<String>,
    /// Those that the server accepts.
    pub(crate) accepted: Vec<String>,
    /// What the first token is replaced by before the last scene.
    pub(crate) replaced_by: Option<String>,
    /// What else is the matter with the server.
    pub(crate) trouble: Trouble,
    /// Somebody may wait in it, so it is played with a clock that is put forward.
    pub(crate) waits: bool,
    /// The image that the scenes begin with.
    pub(crate) image: String,
    /// What must come out of the naive retry.
    pub(crate) naive: Row,
    /// What must come out of this crate.
    pub(crate) failover: Row,
}

/// All of them.
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

/// What this crate says of a scene that no token can make.
const REFUSED: &str = "401 credential_invalid";

/// One dead token, or some: nothing can be made, and that costs no more than finding it out.
fn dead(options: &Options) -> Scenario {
    let title = match options.dead {
        1 => "One dead token".to_owned(),
        dead => format!("{dead} dead tokens"),
    };
    Scenario { title, ..all_dead(1, options.dead, options) }
}

/// Some accounts, the first one dead: the others serve.
fn first_dead(options: &Options) -> Scenario {
    let (scenes, tokens) = (options.scenes, tokens(options.accounts));
    let accepted = tokens[1..].to_vec();
    if accepted.is_empty() {
        let title = "One account, and it is dead".to_owned();
        return Scenario { title, ..all_dead(2, 1, options) };
    }
    Scenario {
        title: format!("{} accounts, the first one dead", tokens.len()),
        tokens,
        accepted,
        naive: naive_refused(2, scenes, options),
        failover: Row {
            upstream_calls: scenes + 1,
            refused: 1,
            incidents: Some(1),
            ..all_made(2, Who::Failover, options)
        },
        ..plain(2, options)
    }
}

/// The dead token is replaced while the program runs: the next scene is made.
fn replaced(options: &Options) -> Scenario {
    let scenes = options.scenes.max(2);
    let new = "token-1-renewed".to_owned();
    Scenario {
        title: "One dead token, replaced before the last scene".to_owned(),
        scenes,
        tokens: tokens(1),
        accepted: vec![new.clone()],
        replaced_by: Some(new),
        naive: naive_refused(3, scenes, options),
        failover: Row {
            upstream_calls: 2,
            refused: 1,
            billed: options.copies,
            request_reports: Some(scenes - 1),
            incidents: Some(1),
            made: 1,
            outcome: format!("{REFUSED}, then 200"),
            ..Row::new(3, Who::Failover)
        },
        ..plain(3, options)
    }
}

/// The first model is overloaded: the second one serves, and the answer says so.
fn overloaded(options: &Options) -> Scenario {
    let scenes = options.scenes;
    let scenario = Scenario { trouble: Trouble::FirstModel, ..plain(4, options) };
    if options.models == 1 {
        return Scenario {
            title: "One model, and it is overloaded".to_owned(),
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

/// The server is busy, and says for how long: waited for once, all is made.
fn one_second(options: &Options) -> Scenario {
    let scenario = Scenario { trouble: Trouble::OneSecond, waits: true, ..plain(5, options) };
    Scenario {
        title: "Busy for one second (503, Retry-After: 1)".to_owned(),
        // It never waits, so for it the second never passes.
        naive: naive_failed(5, "503", options),
        failover: Row { upstream_calls: options.scenes + 1, ..all_made(5, Who::Failover, options) },
        ..scenario
    }
}

/// The server is busy for good: each model is asked, and the retries of the whole film run out.
fn all_busy(options: &Options) -> Scenario {
    let scenario = Scenario { trouble: Trouble::Busy, waits: true, ..plain(6, options) };
    // One request makes at most four attempts. The first one takes all the retries there are.
    let first = (options.models + RETRIES as usize).min(4);
    let each = options.models.min(4);
    Scenario {
        title: format!("All is 503, and {RETRIES} retries for the whole film"),
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

/// The first video is made and billed, and its answer is lost: it is not made again.
fn lost(options: &Options) -> Scenario {
    let (scenes, copies) = (options.scenes, options.copies);
    let scenario = Scenario { trouble: Trouble::FirstAnswer, ..plain(7, options) };
    // The next model makes it again; when there is none, level 3 does, copy by copy.
    let again = if options.models == 1 { copies } else { 1 };
    Scenario {
        title: "The first answer is lost, after the work was done".to_owned(),
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

/// All accounts are good, nothing is the matter, and nothing is promised yet.
fn plain(number: u8, options: &Options) -> Scenario {
    let tokens = tokens(options.accounts);
    Scenario {
        title: String::new(),
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

/// `dead` tokens, and none that is good.
fn all_dead(number: u8, dead: usize, options: &Options) -> Scenario {
    let scenes = options.scenes;
    // Each is called once; one request has at most three accounts refused (`max_refusals`).
    let calls = dead.min(3 * scenes);
    Scenario {
        tokens: tokens(dead),
        accepted: Vec::new(),
        naive: naive_refused(number, scenes, options),
        failover: Row {
            upstream_calls: calls,
            refused: calls,
            request_reports: Some(scenes),
            // The last one is `pool_dead`, those before it `account_out`.
            incidents: Some(calls),
            outcome: REFUSED.to_owned(),
            ..Row::new(number, Who::Failover)
        },
        ..plain(number, options)
    }
}

/// The naive retry never gets beyond its first token, dead or replaced.
fn naive_refused(number: u8, scenes: usize, options: &Options) -> Row {
    let calls = naive_calls(options);
    Row {
        upstream_calls: scenes * calls,
        refused: scenes * calls,
        error_lines: Some(scenes * (calls + 1)),
        outcome: "401".to_owned(),
        ..Row::new(number, Who::Naive)
    }
}

/// The naive retry has tried everything, and each call in vain was a line.
fn naive_failed(number: u8, outcome: &str, options: &Options) -> Row {
    let calls = options.scenes * naive_calls(options);
    Row {
        upstream_calls: calls,
        error_lines: Some(calls),
        outcome: outcome.to_owned(),
        ..Row::new(number, Who::Naive)
    }
}

/// What the naive retry calls for a scene in vain: level 1, and level 3 for each copy; level 2 is
/// for a 400.
fn naive_calls(options: &Options) -> usize {
    options.models + options.copies * options.models
}

/// Every scene is made, and every copy billed once.
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
