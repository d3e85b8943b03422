//! The scenarios, and what is promised of them.

use super::{
    options::Options,
    play::{Row, Who},
    server::IMAGE,
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
    /// The image that the scenes begin with.
    pub(crate) image: String,
    /// What must come out of the naive retry.
    pub(crate) naive: Row,
    /// What must come out of this crate.
    pub(crate) failover: Row,
}

/// All of them.
pub(crate) fn all(options: &Options) -> Vec<Scenario> {
    vec![dead(options), first_dead(options), replaced(options)]
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
        scenes,
        tokens,
        accepted,
        replaced_by: None,
        image: IMAGE.to_owned(),
        naive: naive(2, scenes, options),
        failover: Row {
            scenario: 2,
            who: Who::Failover,
            upstream_calls: scenes + 1,
            refused: 1,
            error_lines: None,
            request_reports: Some(0),
            incidents: Some(1),
            made: scenes,
            outcome: "200".to_owned(),
        },
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
        image: IMAGE.to_owned(),
        naive: naive(3, scenes, options),
        failover: Row {
            scenario: 3,
            who: Who::Failover,
            upstream_calls: 2,
            refused: 1,
            error_lines: None,
            request_reports: Some(scenes - 1),
            incidents: Some(1),
            made: 1,
            outcome: format!("{REFUSED}, then 200"),
        },
    }
}

/// `dead` tokens, and none that is good.
fn all_dead(number: u8, dead: usize, options: &Options) -> Scenario {
    let scenes = options.scenes;
    // Each is called once; one request has at most three accounts refused (`max_refusals`).
    let calls = dead.min(3 * scenes);
    Scenario {
        title: String::new(),
        scenes,
        tokens: tokens(dead),
        accepted: Vec::new(),
        replaced_by: None,
        image: IMAGE.to_owned(),
        naive: naive(number, scenes, options),
        failover: Row {
            scenario: number,
            who: Who::Failover,
            upstream_calls: calls,
            refused: calls,
            error_lines: None,
            request_reports: Some(scenes),
            // The last one is `pool_dead`, those before it `account_out`.
            incidents: Some(calls),
            made: 0,
            outcome: REFUSED.to_owned(),
        },
    }
}

/// The naive retry never gets beyond its first token, dead or replaced.
fn naive(number: u8, scenes: usize, options: &Options) -> Row {
    // Level 1, and level 3 for each copy; level 2 is for a 400.
    let calls = options.models + options.copies * options.models;
    Row {
        scenario: number,
        who: Who::Naive,
        upstream_calls: scenes * calls,
        refused: scenes * calls,
        error_lines: Some(scenes * (calls + 1)),
        request_reports: None,
        incidents: None,
        made: 0,
        outcome: "401".to_owned(),
    }
}

fn tokens(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("token-{i}")).collect()
}
