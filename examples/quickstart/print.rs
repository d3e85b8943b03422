//! The output: tables for a person, or JSON lines for a program.

use std::fmt::Write as _;

use super::{
    options::Options,
    play::{Round, Row},
};

/// The number of different lines that are shown for one client.
const LINES: usize = 5;

/// Returns one object a line.
pub(crate) fn json(rounds: &[Round]) -> String {
    let rows = rounds.iter().flat_map(|round| [&round.naive, &round.failover]);
    rows.filter_map(|row| serde_json::to_string(row).ok()).map(|line| line + "\n").collect()
}

/// Returns a table for each scenario, with both clients side by side.
pub(crate) fn person(rounds: &[Round], options: &Options) -> String {
    let mut text = format!(
        "A video API with {}. A film is made scene by scene: by a naive retry in three\n\
         levels, and through tower-failover. Each scenario shows one rule.\n",
        count(options.models, "model"),
    );
    for round in rounds {
        text.push_str(&table(round));
        // Each attempt of a trail on a line of its own.
        let reported =
            round.events.iter().map(|event| event.to_string().replace(" [", "\n          ["));
        lines(&mut text, "naive logs", &round.lines);
        lines(&mut text, "tower-failover reports", &reported.collect::<Vec<_>>());
    }
    text
}

fn table(round: &Round) -> String {
    let Round { scenario, naive, failover, .. } = round;
    let of = |row: &Row| format!("{} of {}", row.made, scenario.scenes);
    let rows = [
        ("", "naive".to_owned(), "tower-failover".to_owned()),
        ("calls", naive.upstream_calls.to_string(), failover.upstream_calls.to_string()),
        ("rejected", naive.rejected.to_string(), failover.rejected.to_string()),
        ("reported", reported(naive), reported(failover)),
        ("scenes made", of(naive), of(failover)),
        ("videos billed", naive.billed.to_string(), failover.billed.to_string()),
        ("outcome", naive.outcome.clone(), failover.outcome.clone()),
    ];
    let mut text =
        format!("\n{}. {}\n   {}\n\n", failover.scenario, scenario.title, scenario.shows);
    for (name, left, right) in rows {
        let _ = writeln!(text, "   {name:<15}{left:<18}{right}");
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

/// Writes each line once, with its number.
fn lines(text: &mut String, heading: &str, lines: &[String]) {
    let mut different: Vec<(&str, usize)> = Vec::new();
    for line in lines {
        match different.iter_mut().find(|(known, _)| known == line) {
            Some((_, times)) => *times += 1,
            None => different.push((line, 1)),
        }
    }
    let nothing = if lines.is_empty() { " nothing" } else { "" };
    let _ = writeln!(text, "\n   {heading}{nothing}");
    for (line, times) in different.iter().take(LINES) {
        let _ = writeln!(text, "   {times:>4} x {line}");
    }
    if different.len() > LINES {
        let _ = writeln!(text, "          and {} more", different.len() - LINES);
    }
}

fn count(n: usize, unit: &str) -> String {
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// Describes each result that is not the expected one.
pub(crate) fn broken(rounds: &[Round]) -> String {
    let mut text = String::new();
    for Round { scenario, naive, failover, .. } in rounds {
        for (got, expected) in [(naive, &scenario.naive), (failover, &scenario.failover)] {
            if got != expected {
                let _ = writeln!(text, "quickstart: expected {expected:?}");
                let _ = writeln!(text, "quickstart: but got  {got:?}");
            }
        }
    }
    text
}
