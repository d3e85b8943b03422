//! The expiry of a token, against a naive reader of its three parts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tower_failover::credential::jwt_expiry;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// # Panics
///
/// If a token is read differently from how it was written.
pub fn run(bytes: &[u8]) {
    // As a whole token: the expiry read from it is in it.
    if let Some(end) = jwt_expiry(bytes) {
        let parts: Vec<_> = bytes.split(|byte| *byte == b'.').collect();
        let [header, claims, _] = parts.as_slice() else { panic!("{} parts", parts.len()) };
        assert!(matches!(read(header), Some(Value::Object(_))));
        assert_eq!(Some(end), read(claims).as_ref().and_then(moment));
    }
    // As its claims: the expiry in them is read.
    let parts =
        |claims: &[u8]| format!("{}.{}.c2ln", written(b"{\"alg\":\"none\"}"), written(claims));
    let claims = serde_json::from_slice::<Value>(bytes).ok();
    assert_eq!(jwt_expiry(parts(bytes)), claims.as_ref().and_then(moment));
    // As its expiry.
    let claims = [b"{\"exp\":", bytes, b"}"].concat();
    let value = serde_json::from_slice::<Value>(&claims).ok();
    assert_eq!(jwt_expiry(parts(&claims)), value.as_ref().and_then(moment));
}

/// Returns `exp` as defined: seconds since 1970 (RFC 7519 §2).
fn moment(claims: &Value) -> Option<SystemTime> {
    let exp = claims.as_object()?.get("exp")?;
    let since = match (exp.as_u64(), exp.as_f64()) {
        (Some(seconds), _) => Duration::from_secs(seconds),
        (None, Some(seconds)) => Duration::try_from_secs_f64(seconds).ok()?,
        (None, None) => return None,
    };
    UNIX_EPOCH.checked_add(since)
}

/// Decodes a part with any padding.
fn read(part: &[u8]) -> Option<Value> {
    let end = part.iter().rposition(|byte| *byte != b'=').map_or(0, |at| at + 1);
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in &part[..end] {
        let six = ALPHABET.iter().position(|letter| letter == byte)?;
        bits = bits << 6 | u32::try_from(six).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    serde_json::from_slice(&bytes).ok()
}

/// Encodes this as a part.
fn written(bytes: &[u8]) -> String {
    let letters = bytes.chunks(3).flat_map(|chunk| {
        let mut three = [0; 4];
        three[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(three);
        (0..=chunk.len()).map(move |i| ALPHABET[(bits >> (18 - 6 * i) & 63) as usize])
    });
    letters.map(char::from).collect()
}
