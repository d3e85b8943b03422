//! Runs a file of shared cases, with a short list of excused cases and the reasons.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// A case that does not hold here: its id, and the reason (a decision, or a profile that is not offered).
pub(crate) type Excused = (&'static str, &'static str);

/// The result of a case; the text describes the failure.
pub(crate) type Outcome = Result<(), String>;

/// Loads the cases of `tests/cases/<file>`.
///
/// # Panics
///
/// If the file does not exist or is not a JSON array.
pub(crate) fn load(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the id of a case.
pub(crate) fn id(case: &Value) -> &str {
    case["id"].as_str().expect("a case has an id")
}

/// Runs every case of the file but those driven elsewhere.
///
/// # Panics
///
/// Names every case that fails, every excused case that passes, and every listed id that is not in the
/// file. Also panics if more than 15 % of the file is excused.
pub(crate) fn check(
    file: &str,
    excused: &[Excused],
    driven_elsewhere: &[&str],
    mut run: impl FnMut(&Value) -> Outcome,
) {
    let cases = load(file);
    let ids: BTreeSet<&str> = cases.iter().map(id).collect();
    assert_eq!(ids.len(), cases.len(), "{file}: ids are unique");
    let mut wrong = Vec::new();
    let listed = excused.iter().map(|(id, _)| id).chain(driven_elsewhere);
    wrong.extend(listed.filter(|id| !ids.contains(*id)).map(|id| format!("{id}: no such case")));
    for case in &cases {
        let id = id(case);
        if driven_elsewhere.contains(&id) {
            continue;
        }
        match (run(case), excused.iter().find(|(excused, _)| *excused == id)) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some((_, why))) => wrong.push(format!("{id}: excused ({why}), and holds")),
            (Err(what), None) => wrong.push(format!("{id}: {what}")),
        }
    }
    assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
    let (n, all) = (excused.len(), cases.len());
    assert!(n * 100 <= all * 15, "{file}: {n} of {all} excused");
}
