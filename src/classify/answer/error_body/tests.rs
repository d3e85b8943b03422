use std::time::Duration;

use proptest::prelude::*;

use super::{ErrorBody, MAX_REASONS};

fn codes(body: &str) -> Vec<String> {
    ErrorBody::parse(body.as_bytes()).codes().map(str::to_owned).collect()
}

#[test]
fn error_body_finds_members_in_every_shape() {
    for (body, wanted) in [
        (r#"{"error":{"code":"c","type":"t","status":"s"}}"#, &["c", "t", "s"][..]),
        (r#"{"error":{"status":"s","details":[{"reason":"r"}]}}"#, &["r", "s"]),
        (r#"{"detail":{"code":"c"}}"#, &["c"]),
        (r#"{"error":"invalid_grant"}"#, &["invalid_grant"]),
        (r#"{"__type":"a#B","message":"m"}"#, &["a#B"]),
        (r#"[{"error":{"status":"s"}}]"#, &["s"]),
        (r#"{"error":{"code":429,"type":null,"status":[["x"]],"message":{"code":"no"}}}"#, &[]),
        (r#"{"error":{"co\u0064e":"c"}}"#, &["c"]),
        (r#"{"error":{"code":"first","code":"second"}}"#, &["first"]),
        (r#"{"other":{"code":"no"},"error":[{"code":"no"}]}"#, &[]),
        ("nothing", &[]),
        ("", &[]),
    ] {
        assert_eq!(codes(body), wanted, "{body}");
    }
}

#[test]
fn cut_body_yields_the_members_before_the_cut() {
    let body = r#"{"error":{"code":"c","details":[{"retryDelay":"3s"}],"message":"long"}}"#;
    let until = |end: &str| body.find(end).unwrap();
    let read = ErrorBody::parse(&body.as_bytes()[..until("ng\"")]);
    assert_eq!(read.error.code.as_deref(), Some("c"));
    assert_eq!(read.retry_delay, Some(Duration::from_secs(3)));
    assert_eq!(read.message(), None);
    let read = ErrorBody::parse(&body.as_bytes()[..until(",\"details")]);
    assert_eq!(read.error.code.as_deref(), Some("c"));
    assert_eq!(read.retry_delay, None);
}

#[test]
fn deep_nesting_neither_overflows_nor_loses_earlier_members() {
    for open in ["[", r#"{"error":"#, r#"{"error":{"details":["#, r#"{"x":"#] {
        let _ = ErrorBody::parse(open.repeat(200_000).as_bytes());
    }
    let deep = "[".repeat(100_000);
    let read = ErrorBody::parse(format!(r#"{{"error":{{"code":"c","x":{deep}"#).as_bytes());
    assert_eq!(read.error.code.as_deref(), Some("c"));
    let closed = format!("{deep}{}", "]".repeat(100_000));
    assert_eq!(codes(&format!(r#"{{"x":{closed},"error":{{"code":"c"}}}}"#)), ["c"]);
}

#[test]
fn reasons_are_bounded() {
    let details = vec![r#"{"reason":"r"}"#; 100].join(",");
    let read = ErrorBody::parse(format!(r#"{{"error":{{"details":[{details}]}}}}"#).as_bytes());
    assert_eq!(read.reasons.len(), MAX_REASONS);
}

proptest! {
    #[test]
    fn parser_does_not_panic_on_any_bytes(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ErrorBody::parse(&body);
    }

    #[test]
    fn parser_survives_a_cut_and_a_flipped_byte(cut in 0..90_usize, at in 0..90_usize, byte in any::<u8>()) {
        let whole = br#"{"error":{"code":"c","type":"t","details":[{"reason":"r","retryDelay":"3s"}]},"message":"m"}"#;
        let read = ErrorBody::parse(&whole[..cut.min(whole.len())]);
        prop_assert!(read.error.code.is_none_or(|code| &*code == "c"));
        prop_assert!(read.retry_delay.is_none_or(|delay| delay == Duration::from_secs(3)));
        let mut flipped = whole.to_vec();
        flipped[at] = byte;
        let _ = ErrorBody::parse(&flipped);
    }
}
