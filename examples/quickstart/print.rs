//! What is written: a table for a person, or a line for a machine.

use std::fmt::Write as _;

use super::{
    options::Options,
    play::{Round, Row},
};

/// How many different lines of one side are shown.
const LINES: usize = 5;

/// One object a line.
pub(crate) fn json(rounds: &[Round]) -> String {
    let rows = rounds.iter().flat_map(|round| [&round.naive, &round.failover]);
    rows.filter_map(|row| serde_json::to_string(row).ok()).map(|line| line + "\n").collect()
}

/// Both side by side.
pub(crate) fn person(rounds: &[Round], options: &Options) -> String {
    let mut text = format!(
        "A video API with {}; a film is made scene by scene, by a naive retry\n\
         in three levels, and through tower-failover.\n",
        count(options.models, "model"),
    );
    for round in rounds {
        text.push_str(&table(round));
        // Each attempt of a trail on a line of its own.
        let told =
            round.events.iter().map(|event| event.to_string().replace(" [", "\n          ["));
        said(&mut text, "naive", &round.lines);
        said(&mut text, "tower-failover", &told.collect::<Vec<_>>());
    }
    text
}

fn table(round: &Round) -> String {
    let Round { scenario, naive, failover, .. } = round;
    let of = |row: &Row| format!("{} of {}", row.made, scenario.scenes);
    let rows = [
        ("", "naive".to_owned(), "tower-failover".to_owned()),
        ("calls", naive.upstream_calls.to_string(), failover.upstream_calls.to_string()),
        ("refused", naive.refused.to_string(), failover.refused.to_string()),
        ("reported", reported(naive), reported(failover)),
        ("scenes made", of(naive), of(failover)),
        ("videos billed", naive.billed.to_string(), failover.billed.to_string()),
        ("a scene gets", naive.outcome.clone(), failover.outcome.clone()),
    ];
    let mut text = format!("\n{}. {}\n\n", failover.scenario, scenario.title);
    for (what, left, right) in rows {
        let _ = writeln!(text, "   {what:<15}{left:<18}{right}");
    }
    text
}

fn reported(row: &Row) -> String {
    let parts = [
        row.error_lines.map(|n| count(n, "error line")),
        row.incidents.map(|n| count(n, "incident")),
        row.request_reports.map(|n| count(n, "failed request")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Each line once, with how many times it was written.
fn said(text: &mut String, who: &str, lines: &[String]) {
    let mut different: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        match different.iter_mut().find(|(known, _)| known == line) {
            Some((_, times)) => *times += 1,
            None => different.push((line, 1)),
        }
    }
    let nothing = if lines.is_empty() { " nothing" } else { "" };
    let _ = writeln!(text, "\n   {who} says{nothing}");
    for (line, times) in different.iter().take(LINES) {
        let _ = writeln!(text, "   {times:>4} x {line}");
    }
    if different.len() > LINES {
        let _ = writeln!(text, "          and {} more", different.len() - LINES);
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What did not come out as promised.
pub(crate) fn broken(rounds: &[Round]) -> String {
    let mut text = String::new();
    for Round { scenario, naive, failover, .. } in rounds {
        for (got, promised) in [(naive, &scenario.naive), (failover, &scenario.failover)] {
            if got != promised {
                let _ = writeln!(text, "quickstart: promised {promised:?}");
                let _ = writeln!(text, "quickstart: but got  {got:?}");
            }
        }
    }
    text
}
