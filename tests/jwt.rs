//! `jwt.json`, the cases about reading a token without its key.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "support/cases.rs"]
mod cases;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tower_failover::credential::jwt_expiry;

use crate::cases::{Excused, Outcome};

const EXCUSED: &[Excused] = &[];

/// Cases about verification with a key, which the holder of a token does not have.
const VERIFIED: &[&str] = &[
    "jwt.lib-wrong-alg",
    "jwt.exp-missing-required",
    "jwt.exp-missing-not-required",
    "jwt.nbf-past",
    "jwt.aud-array-ok",
    "jwt.iss-mismatch",
    "jwt.kid-unknown",
    "jwt.wycheproof-1-acceptsValid",
    "jwt.wycheproof-2-rejectsModifiedSignature",
    "jwt.wycheproof-3-rejectsMissingSignature",
    "jwt.wycheproof-4-rejectsMissingSignatureAndSeparator",
    "jwt.wycheproof-5-rejectsModifiedPayload",
    "jwt.wycheproof-7-rejectsMissingPayloadAndSeparator",
    "jwt.wycheproof-12-rejectsMissingHeaderSignatureAndSeparators",
    "jwt.wycheproof-13-rejectsEmptyString",
    "jwt.wycheproof-16-rejectsNoneAlgorithmAndMissingSignature",
    "jwt.wycheproof-357-ValidMac",
];

#[test]
fn expiry_of_a_jwt_is_read_without_its_key() {
    let about_verification = |case: &Value| {
        let expect = case["expect"].as_object().unwrap();
        expect.keys().all(|member| ["verify", "verify_signature", "panics"].contains(&&**member))
    };
    let all = cases::load("jwt.json");
    let verified: Vec<_> =
        all.iter().filter(|case| about_verification(case)).map(cases::id).collect();
    assert_eq!(verified, VERIFIED, "the cases that need a key");
    cases::check("jwt.json", EXCUSED, VERIFIED, holds);
}

fn holds(case: &Value) -> Outcome {
    let seconds = |value: &Value| value.as_u64().map(|s| UNIX_EPOCH + Duration::from_secs(s));
    let found = jwt_expiry(case["request"]["token"].as_str().unwrap());
    let now: SystemTime = seconds(&case["config"]["now"]).unwrap();
    let mut checked = 0;
    for (member, wanted) in case["expect"].as_object().unwrap() {
        let right = match member.as_str() {
            "peek_exp" => found == seconds(wanted),
            "expired" => found.is_some_and(|end| end <= now) == wanted.as_bool().unwrap(),
            "peek" | "treat_as" => found.is_none(),
            // A panic would have ended the test, and verification is out of scope.
            "panics" | "verify" | "verify_signature" => continue,
            other => return Err(format!("no check for {other}")),
        };
        if !right {
            return Err(format!("{member}: {found:?}, and not {wanted}"));
        }
        checked += 1;
    }
    if checked == 0 { Err("no member was checked".into()) } else { Ok(()) }
}
