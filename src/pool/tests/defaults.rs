use crate::pool::account::{Cooldowns, millis};

/// So many of a unit, exactly.
fn whole(time: u64, unit: u64, name: &str) -> String {
    assert_eq!(time % unit, 0, "not a whole number of {name}");
    format!("{} {name}", time / unit)
}

#[test]
fn readme_names_the_times_of_a_pool() {
    let readme = include_str!("../../../README.md");
    let seconds = |time| whole(time, 1000, "s");
    let minutes = |time| whole(time, 60_000, "min");
    let hours = |time| whole(time, 3_600_000, "h");
    let cooldowns = Cooldowns::default();
    let times = &cooldowns.quarantine;
    for row in [
        format!(
            "| quarantine | {} for a token that has worked, {} for one that never has, {} for a revoked one |",
            seconds(millis(times.trusted)),
            minutes(millis(times.untrusted)),
            hours(millis(times.revoked)),
        ),
        format!(
            "| quarantine, doubled by each refused probe | up to {}; {} for a revoked token |",
            hours(millis(times.max)),
            hours(millis(times.max_revoked)),
        ),
        format!(
            "| 429 without a hint; out of quota; model not found | {} doubling to {}; {}; {} |",
            seconds(millis(cooldowns.limited.after(0))),
            seconds(millis(cooldowns.limited.after(u32::MAX))),
            minutes(cooldowns.out_of_quota),
            minutes(cooldowns.model),
        ),
        format!("| `max_rest` | {} |", hours(cooldowns.max_rest)),
    ] {
        assert!(readme.lines().any(|line| line == row), "not in the README: {row}");
    }
}
