use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn token(header: &str, claims: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.c2lnbmF0dXJl")
}

#[allow(clippy::unnecessary_wraps, reason = "what it is compared with is wrapped")]
fn at(seconds: f64) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

#[test]
fn exp_that_is_not_a_number_of_seconds_is_unknown() {
    let exp = |exp: &str| jwt_expiry(token("{}", &format!("{{\"exp\":{exp}}}")));
    assert_eq!(exp("1700000000"), at(1_700_000_000.0));
    assert_eq!(exp("1700003600.5"), at(1_700_003_600.5));
    assert_eq!(exp("1.7e9"), at(1_700_000_000.0));
    assert_eq!(exp("0"), at(0.0));
    for bad in ["-1", "1e300", "18446744073709551616e9", "null", "\"1700000000\"", "[1]", "true"] {
        assert_eq!(exp(bad), None, "{bad}");
    }
}

#[test]
fn last_of_two_exp_members_counts() {
    // RFC 7519 §4: "use a JSON parser that returns only the lexically last duplicate member name".
    assert_eq!(jwt_expiry(token("{}", r#"{"exp":1,"exp":2}"#)), at(2.0));
}

#[test]
fn only_a_compact_jws_is_decoded() {
    let good = token("{}", r#"{"exp":1}"#);
    assert_eq!(jwt_expiry(&good), at(1.0));
    let (header, rest) = good.split_once('.').unwrap();
    let claims = rest.split_once('.').unwrap().0;
    for bad in [
        String::new(),
        format!("{header}.{claims}"),
        format!("{good}.more"),
        format!(".{rest}"),
        format!("{header}..sig"),
        token("[]", r#"{"exp":1}"#),
        token("{}", r#"[{"exp":1}]"#),
        token("{}", r#"{"inner":{"exp":1}}"#),
        token("{}", r#"{"exp":1"#),
    ] {
        assert_eq!(jwt_expiry(&bad), None, "{bad}");
    }
}

#[test]
fn padding_is_accepted() {
    let [header, claims] = ["{}", r#"{"exp":1}"#].map(|part| URL_SAFE.encode(part));
    assert_eq!(jwt_expiry(format!("{header}.{claims}.")), at(1.0));
}

#[test]
fn huge_or_deep_token_is_unknown() {
    let huge = format!("{{\"exp\":1,\"pad\":\"{}\"}}", "x".repeat(MAX_LENGTH));
    assert_eq!(jwt_expiry(token("{}", &huge)), None);
    let deep = format!("{{\"exp\":1,\"pad\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
    assert_eq!(jwt_expiry(token("{}", &deep)), None);
}

proptest! {
    #[test]
    fn jwt_expiry_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = jwt_expiry(&bytes);
        let _ = jwt_expiry([b"e30.", &*bytes, b".x"].concat());
        let _ = jwt_expiry(token("{}", &String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn exp_is_found_among_other_claims(
        seconds in 0_u64..253_402_300_800,
        name in "[a-d]{1,3}",
        text in ".{0,20}",
    ) {
        let claims = serde_json::json!({ &name: &text, "exp": seconds });
        let found = jwt_expiry(token("{}", &claims.to_string()));
        prop_assert_eq!(found, Some(UNIX_EPOCH + Duration::from_secs(seconds)));
    }
}
