//! A member of a JSON body, found and replaced, with `serde_json` as the oracle.

use std::{fmt, str};

use arbitrary::{Arbitrary, Result, Unstructured};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use tower_failover::fuzzing::{Found, find, splice};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// The name of the member; `None` for `model`.
    name: Option<&'a str>,
    /// The replacement value.
    value: &'a str,
    body: &'a [u8],
}

/// # Panics
///
/// If `serde_json` reads the body or the result differently.
pub fn run(bytes: &[u8]) {
    // First the raw bytes, so that the fuzzer finds JSON; then as structured input.
    look(bytes, "model", "m2\"\\\n\u{7f}\u{e9}");
    let input = Input::arbitrary_take_rest(Unstructured::new(bytes));
    let _: Result<()> = input.map(|it| look(it.body, it.name.unwrap_or("model"), it.value));
}

fn look(body: &[u8], name: &str, value: &str) {
    let found = find(body, name);
    judged(body, name, &found);
    let Found::Member(place, old) = found else { return };
    let out = splice(body, &place, value);
    only_the_member_changed(body, &old, &out, value);
    let Found::Member(place, new) = find(&out, name) else { panic!("it is lost: {out:?}") };
    assert_eq!(new, value);
    let back = splice(&out, &place, &old);
    let Found::Member(place, again) = find(&back, name) else { panic!("it is lost: {back:?}") };
    assert_eq!(again, old);
    assert_eq!(splice(&back, &place, &old), back);
}

/// An object as a list of all members in order.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        json.deserialize_map(List)
    }
}

/// Checks that the found member is what `serde_json` reads, if it reads the body.
fn judged(body: &[u8], name: &str, found: &Found) {
    let text =
        str::from_utf8(body).ok().filter(|it| serde_json::from_str::<IgnoredAny>(it).is_ok());
    let Some(text) = text else { return assert_eq!(*found, Found::Invalid) };
    assert_ne!(*found, Found::Invalid, "{text}");
    if !text.trim_start().starts_with('{') {
        return assert_eq!(*found, Found::NotAnObject);
    }
    // Only `serde_json` rejects lone surrogates, enormous numbers and great depth.
    let Ok(Members(members)) = serde_json::from_str(text) else { return };
    let named: Vec<_> = members.iter().filter(|(one, _)| one == name).map(|(_, it)| it).collect();
    match (named.as_slice(), found) {
        ([], Found::Missing) | ([_, _, ..], Found::Ambiguous) => {}
        ([Value::String(wanted)], Found::Member(_, value)) => assert_eq!(wanted, value),
        ([other], Found::NotAString) => assert!(!other.is_string(), "{text}"),
        _ => panic!("{found:?} in {text}"),
    }
}

/// Checks that the result is the body with another string at one place, byte for byte.
fn only_the_member_changed(body: &[u8], old: &str, out: &[u8], new: &str) {
    let written = serde_json::to_vec(new).expect("a string is written");
    let fits = |at: usize| {
        let after = &out[at + written.len()..];
        let Some(end) = body.len().checked_sub(after.len()).filter(|end| *end > at) else {
            return false;
        };
        out[..at] == body[..at]
            && *after == body[end..]
            && serde_json::from_slice::<String>(&body[at..end]).is_ok_and(|it| it == old)
    };
    let mut places = 0..(out.len() + 1).saturating_sub(written.len()).min(body.len());
    assert!(places.any(|at| out[at..].starts_with(&written) && fits(at)), "{out:?} of {body:?}");
}
