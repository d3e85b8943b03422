//! Compares observations with the expectations of a case; every expectation must be checked.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::cases::Outcome;

/// The unchecked members of `expect` and the failures so far.
pub(crate) struct Expect<'a> {
    left: BTreeMap<&'a str, &'a Value>,
    wrong: Vec<String>,
}

impl<'a> Expect<'a> {
    pub(crate) fn of(case: &'a Value) -> Self {
        let members = case["expect"].as_object().expect("a case expects something");
        let left = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
        Self { left, wrong: Vec::new() }
    }

    /// Returns this member and marks it as checked.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a Value> {
        self.left.remove(name)
    }

    /// Checks that this member, if present, equals the observation.
    pub(crate) fn is(&mut self, name: &str, seen: impl Into<Value>) {
        if let Some(wanted) = self.take(name) {
            let seen = seen.into();
            // 20 and 20.0 are equal.
            let same = match (wanted.as_f64(), seen.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                _ => *wanted == seen,
            };
            self.check(same, || format!("{name}: {seen}, expected {wanted}"));
        }
    }

    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    /// Returns `Ok` if every member was checked and none failed.
    pub(crate) fn end(mut self) -> Outcome {
        self.wrong.extend(self.left.keys().map(|name| format!("{name}: not checked")));
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong.join("; ")) }
    }
}

#[test]
fn unchecked_field_is_an_error() {
    let case = serde_json::json!({"expect": {"a": 1, "b": [2]}});
    let mut expect = Expect::of(&case);
    expect.is("a", 1.0);
    assert_eq!(expect.end().unwrap_err(), "b: not checked");
    let mut expect = Expect::of(&case);
    expect.is("a", 1);
    expect.is("b", vec![3]);
    assert_eq!(expect.end().unwrap_err(), "b: [3], expected [2]");
}
