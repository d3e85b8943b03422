//! Cases, edges, and `serde_json` as the oracle.

use std::{fmt, str, thread};

use proptest::{prelude::*, sample::Index};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{Found, find, splice, written_len};
use crate::classify::answer::content;

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/json_model_rewrite.json"));

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("a body in hex");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("a hex digit");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Returns the result of a case, in the words of the cases, and the resulting body.
fn rewrite(case: &Value) -> (&'static str, Vec<u8>) {
    let body = bytes(&case["request"]["body_hex"]);
    let content_type = case["request"]["headers"]["content-type"].as_str();
    if content_type.is_some_and(|it| !content::is_json(it.as_bytes())) {
        return ("not-json-content", body);
    }
    let outcome = match find(&body, "model") {
        Found::Member(span, _) => {
            let model = case["config"]["replace_with"].as_str().expect("a name");
            return ("rewritten", splice(&body, &span, model).to_vec());
        }
        Found::Missing => "no-model",
        Found::NotAString => "model-not-a-string",
        Found::NotAnObject => "not-an-object",
        Found::Ambiguous => "ambiguous",
        Found::Invalid => "invalid",
    };
    (outcome, body)
}

#[test]
fn find_and_splice_match_the_cases() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("an array of cases");
    assert_eq!(cases.len(), 35, "none is left out");
    for case in &cases {
        let (expect, id) = (&case["expect"], &case["id"]);
        let (outcome, body) = rewrite(case);
        assert_eq!(outcome, expect["outcome"], "{id}");
        let wanted = if outcome == "rewritten" { expect } else { &case["request"] };
        assert_eq!(body, bytes(&wanted["body_hex"]), "{id}");
    }
}

/// Returns the value of the member, and the value as written.
fn member<'a>(found: &'a Found<'_>, body: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    match found {
        Found::Member(span, value) => Some((value, &body[span.0.clone()])),
        _ => None,
    }
}

#[test]
fn member_is_found_under_any_spelling() {
    for (body, value, written) in [
        (r#"{"model":"m"}"#, "m", r#""m""#),
        (r#"{"mod\u0065l":"m"}"#, "m", r#""m""#),
        (r#"{"\u006D\u006f\u0064\u0065\u006c" : "m" , "a" : 1}"#, "m", r#""m""#),
        (r#"{"model":"a\/b\u00e9\ud83d\ude00"}"#, "a/bé😀", r#""a\/b\u00e9\ud83d\ude00""#),
        (r#"{"a":[{"model":1}],"model":"é"}"#, "é", r#""é""#),
        // Other members may hold numbers of any size and halves of surrogate pairs.
        (r#"{"a":1e999,"model":"m"}"#, "m", r#""m""#),
        (r#"{"a":"\ud83d","\udc00":1,"model":"m"}"#, "m", r#""m""#),
    ] {
        let found = find(body.as_bytes(), "model");
        assert_eq!(member(&found, body.as_bytes()), Some((value, written.as_bytes())), "{body}");
    }
}

#[test]
fn body_without_a_replaceable_member_has_a_reason() {
    for (body, wanted) in [
        (&br#"{"model":"a","model":"a"}"#[..], Found::Ambiguous),
        (br#"{"model":"a","mod\u0065l":"b"}"#, Found::Ambiguous),
        (br#"{"model":1,"model":"a"}"#, Found::Ambiguous),
        (br#"{"model":"a","model":null,"model":1}"#, Found::Ambiguous),
        (br#"{"model":"a","model":"b"}x"#, Found::Invalid),
        (br#"{"model":{"model":"a"}}"#, Found::NotAString),
        (br#"{"model":["a"]}"#, Found::NotAString),
        (br#"{"model":"\ud800"}"#, Found::NotAString),
        (br#"{"mode":"a","models":"a","model\u0000":"a"}"#, Found::Missing),
        (br#"{"\\u006dodel":"a"}"#, Found::Missing),
        (br#""model""#, Found::NotAnObject),
        (b"\t-0.5e+1\n", Found::NotAnObject),
        (b"\xef\xbb\xbf{\"model\":\"m\"}", Found::Invalid),
        (b"{\"model\":\"m\",\"a\":\"\xff\"}", Found::Invalid),
        (b"{\"model\":\"\xc3\"}", Found::Invalid),
        (b"\"\x80\x80\x80\x80\x80\x80\x80\x80\"", Found::Invalid),
        (b"{\"model\":\"m\",\"\xed\xa0\x80\":1}", Found::Invalid),
        (b"{\"model\":\"m\",\"a\":\"\n\"}", Found::Invalid),
        (b"{\"model\":\"m\"}\0", Found::Invalid),
        (br#"{"model":"m","a":01}"#, Found::Invalid),
        (br#"{"model":"m","a":"\u00g0"}"#, Found::Invalid),
        (br#"{"model":"m","a":NaN}"#, Found::Invalid),
        (br#"{"model":"m","a":[1,]}"#, Found::Invalid),
        (br#"{"model":"m","a":[}"#, Found::Invalid),
        (br#"{"model":"m"}{}"#, Found::Invalid),
    ] {
        assert_eq!(find(body, "model"), wanted, "{}", String::from_utf8_lossy(body));
    }
}

/// Runs on a stack that a recursion of a thousand levels would overflow.
#[test]
fn scan_of_a_hundred_thousand_levels_fits_a_small_stack() {
    let walk = || {
        for (open, close) in [("[", "]"), (r#"{"model":"#, "}"), (r#"[{"a":"#, "}]")] {
            let (open, close) = (open.repeat(100_000), close.repeat(100_000));
            let body = format!(r#"{{"a":{open}1{close},"model":"m"}}"#);
            let found = find(body.as_bytes(), "model");
            assert_eq!(member(&found, body.as_bytes()), Some(("m", &br#""m""#[..])));
            let unclosed = format!(r#"{{"model":"m","a":{open}"#);
            assert_eq!(find(unclosed.as_bytes(), "model"), Found::Invalid);
            assert_eq!(find(open.as_bytes(), "model"), Found::Invalid);
        }
    };
    let small = thread::Builder::new().stack_size(64 * 1024).spawn(walk);
    small.expect("a thread").join().expect("it ends well");
}

/// Covers words, blocks and their borders: one special byte at every position of many lengths.
#[test]
fn special_byte_is_seen_at_every_position_of_a_string() {
    for len in [1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 100, 130] {
        for at in 0..len {
            for byte in 0..=u8::MAX {
                let mut body = format!(r#"{{"a":"{}","model":"m"}}"#, "x".repeat(len)).into_bytes();
                body[6 + at] = byte;
                agrees(&body).expect("no matter where it stands");
            }
        }
    }
}

/// Covers two special bytes in one block, and strings of special bytes only.
#[test]
fn special_bytes_are_seen_in_any_number() {
    for byte in 0..=u8::MAX {
        for (from, count) in [(32, 64), (32, 63), (32, 2), (40, 2), (32, 128), (0, 130)] {
            let mut body = format!(r#"{{"a":"{}","model":"m"}}"#, "x".repeat(200)).into_bytes();
            body[6 + from..][..count].fill(byte);
            agrees(&body).expect("no matter how many there are");
        }
    }
}

#[test]
fn member_may_have_an_empty_name() {
    let body = br#"{"model":"m","":"n"}"#;
    assert_eq!(member(&find(body, ""), body), Some(("n", &br#""n""#[..])));
}

/// An object as a list of all members, in order.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
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

/// Compares `find` with `serde_json` on a body, as far as `serde_json` checks it.
fn agrees(body: &[u8]) -> Result<(), TestCaseError> {
    let found = find(body, "model");
    // `serde_json` does not check the encoding of ignored values.
    let text =
        str::from_utf8(body).ok().filter(|it| serde_json::from_str::<IgnoredAny>(it).is_ok());
    let Some(text) = text else {
        prop_assert_eq!(found, Found::Invalid);
        return Ok(());
    };
    prop_assert_ne!(&found, &Found::Invalid);
    if !text.trim_start().starts_with('{') {
        prop_assert_eq!(found, Found::NotAnObject);
        return Ok(());
    }
    // Halves of surrogate pairs and huge numbers are errors only in `serde_json`.
    let Ok(Members(members)) = serde_json::from_str(text) else { return Ok(()) };
    let mut named = members.iter().filter(|(name, _)| name == "model").map(|(_, value)| value);
    match (named.next(), named.next()) {
        (None, _) => prop_assert_eq!(found, Found::Missing),
        (_, Some(_)) => prop_assert_eq!(found, Found::Ambiguous),
        (Some(Value::String(value)), None) => {
            let (text, written) = member(&found, body).expect("the member is found");
            prop_assert_eq!(text, value);
            prop_assert_eq!(&serde_json::from_slice::<String>(written).expect("a string"), value);
        }
        (Some(_), None) => prop_assert_eq!(found, Found::NotAString),
    }
    Ok(())
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

/// Returns a character in one of its spellings.
fn spelt_char(char: char, way: u8) -> String {
    let unicode = |char: char| {
        let mut units = [0; 2];
        let units = char.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
        units.collect::<Vec<_>>().concat()
    };
    match (way % 8, char) {
        (0, _) | (_, '\0'..' ') => unicode(char),
        (1, _) => unicode(char).to_uppercase().replace("\\U", "\\u"),
        (_, '"' | '\\') => format!("\\{char}"),
        (2, '/') => r"\/".to_owned(),
        _ => char.to_string(),
    }
}

fn spelt(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(text, ways)| {
        let chars = text.chars().zip(ways.iter().cycle());
        format!("\"{}\"", chars.map(|(char, way)| spelt_char(char, *way)).collect::<String>())
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>(),
        4 => "[a-z ]{0,12}",
        1 => "[a-z \n\"]{60,160}",
        1 => Just("model".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let others = prop_oneof![Just(String::new()), Just("models".to_owned()), text()];
    prop_oneof![1 => Just("model".to_owned()), 6 => others]
}

fn joined(
    (open, close): (char, char),
    element: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let padded = (space(), element, space()).prop_map(|(a, it, b)| a + &it + &b);
    (space(), prop::collection::vec(padded, 0..6)).prop_map(move |(inside, all)| {
        let inside = if all.is_empty() { inside } else { all.join(",") };
        format!("{open}{inside}{close}")
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (spelt(name()), space(), space(), value);
    joined(('{', '}'), member.prop_map(|(name, a, b, value)| format!("{name}{a}:{b}{value}")))
}

/// Any JSON value, in any formatting.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        spelt(text()),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![joined(('[', ']'), inner.clone()), object(inner)]
    })
}

/// A body that is usually an object.
fn body() -> impl Strategy<Value = String> {
    let top = prop_oneof![1 => value().boxed(), 5 => object(value()).boxed()];
    (space(), top, space()).prop_map(|(a, top, b)| a + &top + &b)
}

/// A body with members before and after the one to find.
fn body_with_model() -> impl Strategy<Value = String> {
    let others = || {
        let name = spelt(name().prop_filter("another name", |it| it != "model"));
        prop::collection::vec(
            (name, value()).prop_map(|(name, value)| format!("{name}: {value}")),
            0..4,
        )
    };
    let model = (spelt(Just("model".to_owned())), space(), spelt(text()))
        .prop_map(|(name, space, value)| format!("{name}:{space}{value}"));
    (others(), model, others(), space()).prop_map(|(mut all, model, after, space)| {
        all.push(model);
        all.extend(after);
        format!("{space}{{{}}}{space}", all.join(","))
    })
}

/// Inserts or replaces a byte, cuts the body, or repeats a part.
fn mutated(mut body: Vec<u8>, edits: &[(u8, Index, u8)]) -> Vec<u8> {
    for (kind, at, byte) in edits {
        let at = at.index(body.len() + 1);
        match kind % 5 {
            0 => body.insert(at, *byte),
            1 => body.truncate(at),
            2 => body.extend_from_within(at..),
            3 if at < body.len() => body[at] = *byte,
            _ if at < body.len() => _ = body.remove(at),
            _ => {}
        }
    }
    body
}

fn edits() -> impl Strategy<Value = Vec<(u8, Index, u8)>> {
    let byte =
        prop_oneof![prop::sample::select(&b"[]{}:,\"\\u0e-+. tn\n\0\x1f\xc3"[..]), any::<u8>(),];
    prop::collection::vec((any::<u8>(), any::<Index>(), byte), 1..4)
}

proptest! {
    #[test]
    fn splice_changes_only_the_member(body in body_with_model(), model in any::<String>()) {
        let found = find(body.as_bytes(), "model");
        let Found::Member(span, _) = &found else { panic!("{found:?} in {body}") };
        let out = splice(body.as_bytes(), span, &model);

        let (before, after) = (&body.as_bytes()[..span.0.start], &body.as_bytes()[span.0.end..]);
        prop_assert!(out.starts_with(before) && out.ends_with(after));
        let written = serde_json::to_string(&model).expect("a string is written");
        prop_assert_eq!(out.len(), before.len() + written.len() + after.len());

        let mut wanted: Value = serde_json::from_str(&body).expect("it was JSON");
        wanted["model"] = Value::String(model);
        let got: Value = serde_json::from_slice(&out).expect("it is JSON");
        prop_assert_eq!(got.to_string(), wanted.to_string());
    }

    #[test]
    fn splice_back_restores_the_bytes(body in body_with_model(), model in any::<String>()) {
        let Found::Member(span, value) = find(body.as_bytes(), "model") else { panic!("{body}") };
        let there = splice(body.as_bytes(), &span, &model);
        let Found::Member(span, found) = find(&there, "model") else { panic!("{there:?}") };
        prop_assert_eq!(found, model);
        let back = splice(&there, &span, &value);
        let Found::Member(span, found) = find(&back, "model") else { panic!("{back:?}") };
        prop_assert_eq!(&found, &value);
        prop_assert_eq!(splice(&back, &span, &value), back);
    }

    #[test]
    fn find_agrees_with_serde_json_on_json(body in body()) {
        prop_assert!(serde_json::from_str::<IgnoredAny>(&body).is_ok(), "{}", body);
        agrees(body.as_bytes())?;
    }

    #[test]
    fn find_agrees_with_serde_json_on_damaged_json(body in body(), edits in edits()) {
        agrees(&mutated(body.into_bytes(), &edits))?;
    }

    #[test]
    fn find_agrees_with_serde_json_on_json_like_text(body in r#"\{?"model":["\[\]{}:,\\u0-9eE+. tfn\-]{0,30}\}?"#) {
        agrees(body.as_bytes())?;
    }

    #[test]
    fn find_agrees_with_serde_json_on_numbers(number in "[-+.eE0-9]{1,8}") {
        agrees(number.as_bytes())?;
        agrees(format!("[{number}]").as_bytes())?;
    }

    #[test]
    fn find_never_panics(body in prop::collection::vec(any::<u8>(), 0..200), name in any::<String>()) {
        agrees(&body)?;
        let _ = find(&body, &name);
    }

    #[test]
    fn find_finds_any_member_by_its_name(name in any::<String>(), value in any::<String>()) {
        let body = serde_json::json!({ name.clone(): value.clone() }).to_string();
        let found = find(body.as_bytes(), &name);
        prop_assert_eq!(member(&found, body.as_bytes()).map(|(text, _)| text), Some(&*value));
    }

    #[test]
    fn written_len_is_the_length_of_the_written_string(text in any::<String>(), low in "[\0-\x7f]{0,40}") {
        for text in [text, low] {
            prop_assert_eq!(written_len(&text), serde_json::to_string(&text).expect("it is written").len());
        }
    }
}
