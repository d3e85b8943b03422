use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use proptest::prelude::*;
use serde_json::Value;

use super::{Challenge, challenges, parse, reason};
use crate::classify::Reason;

fn headers(lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap())).collect()
}

fn lines_of(case: &Value) -> Vec<&str> {
    match &case["upstream"][0]["headers"]["www-authenticate"] {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// The cases of RFC 9110 §11.6.1 and of browsers; those of mode `render` are for writers of challenges.
#[test]
fn parser_meets_the_shared_cases() {
    let table = include_str!("../../../tests/cases/www_authenticate.json");
    let cases: Vec<Value> = serde_json::from_str(table).unwrap();
    let parsed: Vec<_> = cases.iter().filter(|case| case["config"]["mode"] == "parse").collect();
    assert_eq!(parsed.len(), 13);
    for case in parsed {
        let id = case["id"].as_str().unwrap();
        let headers = headers(&lines_of(case));
        let found = challenges(&headers);
        let wanted = case["expect"]["challenges"].as_array().unwrap();
        assert_eq!(found.len(), wanted.len(), "{id}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(wanted["scheme"].as_str().unwrap().eq_ignore_ascii_case(&found.scheme), "{id}");
            let params = wanted["params"].as_object().unwrap();
            assert_eq!(found.params.len(), params.len(), "{id}");
            for (name, value) in params {
                assert_eq!(found.param(name), value.as_str(), "{id}: {name}");
            }
        }
        if case["expect"]["class"] == "auth-expired" {
            assert_eq!(reason(&headers), Some(Reason::Expired), "{id}");
        }
    }
}

#[test]
fn token68_differs_from_parameters() {
    let one = |line: &str| parse(line.as_bytes()).unwrap();
    assert_eq!(one("Negotiate abc==")[0].token68.as_deref(), Some("abc=="));
    let two = one("Negotiate a/b+c=, Basic realm = \"x\" ,, charset=UTF-8,");
    assert_eq!(two[0].token68.as_deref(), Some("a/b+c="));
    assert_eq!(two[1].param("realm"), Some("x"));
    assert_eq!(two[1].param("charset"), Some("UTF-8"));
    assert_eq!(one("Negotiate abc")[0].token68.as_deref(), Some("abc"));
    assert_eq!(one("Negotiate, Basic")[1].scheme, "Basic");
    assert_eq!(one(" , ,"), Vec::<Challenge>::new());
    // Padding alone is no token (RFC 9110 §11.2).
    assert_eq!(parse(b"Negotiate =="), None);
}

#[test]
fn malformed_line_is_skipped_and_the_others_are_parsed() {
    for line in [
        "Basic realm=\"x",
        "Basic a=b, realm=",
        "=x",
        "Basic realm=x y=z",
        "Basic \"x\"",
        "Basic realm=\"x\\",
    ] {
        assert_eq!(parse(line.as_bytes()), None, "{line}");
    }
    let found = challenges(&headers(&["Basic realm=\"x", "Bearer error=invalid_token"]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].scheme, "Bearer");
}

#[test]
fn reason_needs_an_error_code() {
    for (line, wanted) in [
        ("Bearer realm=\"x\"", None),
        ("Bearer error=\"invalid_token\"", Some(Reason::Invalid)),
        (
            "Bearer error=\"invalid_token\", error_description=\"Token was revoked\"",
            Some(Reason::Revoked),
        ),
        // RFC 6750 §3.1 word for word: it may be any of these.
        (
            "Bearer error=\"invalid_token\", error_description=\"The access token provided is expired, \
             revoked, malformed, or invalid for other reasons\"",
            Some(Reason::Invalid),
        ),
        ("Bearer error=\"insufficient_scope\", scope=\"a b\"", Some(Reason::InsufficientScope)),
        ("Bearer error=\"invalid_request\"", None),
        ("Basic realm=\"expired\"", None),
        ("DPoP algs=\"ES256\", error=\"invalid_token\"", Some(Reason::Invalid)),
    ] {
        assert_eq!(reason(&headers(&[line])), wanted, "{line}");
    }
}

proptest! {
    #[test]
    fn parser_neither_panics_nor_hangs_on_any_line(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&line);
    }

    #[test]
    fn parser_neither_panics_nor_hangs_on_near_misses(line in "[A-Za-z=\", \\\\/+]{0,40}") {
        let _ = parse(line.as_bytes());
    }

    #[test]
    fn quoted_value_is_read_back(value in "[ -~]{0,30}", name in "[a-z]{1,8}") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        let found = parse(format!("Scheme {name}=\"{escaped}\", Other").as_bytes()).unwrap();
        prop_assert_eq!(found[0].param(&name), Some(value.as_str()));
        prop_assert_eq!(found[1].scheme.as_str(), "Other");
    }
}
