//! Prints the figures.

use crate::{bars::Bar, rounds::Row};

/// Prints one object per line.
pub fn json(row: &Row) -> String {
    let share = row.of_one_clone.map_or("null".into(), |share| format!("{share:.3}"));
    format!(
        "{{\"case\":\"{}\",\"stack\":\"{}\",\"ns\":{:.1},\"added_ns\":{:.1},\"of_one_clone\":{share},\"allocs\":{},\"bytes\":{}}}",
        row.case,
        row.stack,
        row.ns,
        row.added_ns,
        rounded(row.allocs),
        rounded(row.bytes),
    )
}

/// Prints a line for each stack, a block for each case.
pub fn table(rows: &[Row]) {
    println!(
        "{:<46} {:>10} {:>10} {:>9} {:>8} {:>9}",
        "", "ns", "+ ns", "of clone", "+ allocs", "+ bytes"
    );
    let mut case = "";
    for row in rows {
        if row.case != case {
            case = row.case;
            println!("{case}");
        }
        let share = row.of_one_clone.map_or(String::new(), |share| format!("{share:.2}"));
        println!(
            "{:<46} {:>10.0} {:>10.0} {share:>9} {:>8} {:>9}",
            format!("  {}", row.stack),
            row.ns,
            row.added_ns,
            rounded(row.allocs),
            rounded(row.bytes),
        );
    }
}

/// Prints the slowdown of each stack with two threads.
pub fn slower(slower: &[(&str, f64)]) {
    println!("\ntwo threads on one stack: times slower than one");
    let bare = slower.iter().find(|(name, _)| *name == "bare").map_or(1.0, |(_, by)| *by);
    for (stack, by) in slower {
        println!("  {stack:<30} {by:>6.2}   of what bare loses {:>5.2}", by / bare);
    }
}

/// Prints each limit with its measurement.
pub fn bars(bars: &[Bar]) {
    println!("\n{:<56} {:>9} {:>8}", "bar", "measured", "at most");
    for bar in bars {
        let measured = bar.measured.map_or("-".into(), |measured| format!("{measured:.3}"));
        let verdict = match bar.is_met() {
            Some(true) => "ok",
            Some(false) => "MISSED",
            None => "not measured",
        };
        println!("{:<56} {measured:>9} {:>8.2}  {verdict}", bar.what, bar.at_most);
    }
}

/// Formats a number without a sign before zero and without meaningless decimals.
fn rounded(n: f64) -> f64 {
    (n * 100.0).round() / 100.0 + 0.0
}
