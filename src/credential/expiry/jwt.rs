//! The expiry of a JWT, read without its key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// The longest part of a token that is decoded, in bytes as sent. Proxies usually limit all headers
/// together to this size.
const MAX_LENGTH: usize = 16 * 1024;

/// Padding is optional, because some issuers write it against RFC 7515 §2.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the expiry of a JWT: its `exp` (RFC 7519 §4.1.4), read without a key.
///
/// Nothing is verified. This serves the token's holder, who wants to know when to refresh it, and not
/// a server that has to check it. `None` is unknown: the token is not a JWS in compact form (RFC 7515
/// §7.1), has no `exp`, or is malformed. Such a token may still be sent. Parts of more than 16 KiB are
/// not decoded.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use tower_failover::credential::jwt_expiry;
///
/// // {"alg":"none"} . {"iss":"joe","exp":1300819380} . (no signature)
/// let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLCJleHAiOjEzMDA4MTkzODB9.";
/// assert_eq!(jwt_expiry(token), Some(UNIX_EPOCH + Duration::from_secs(1_300_819_380)));
/// assert_eq!(jwt_expiry("sk-opaque"), None);
/// ```
pub fn jwt_expiry(token: impl AsRef<[u8]>) -> Option<SystemTime> {
    let mut parts = token.as_ref().split(|byte| *byte == b'.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    // Without an object as header, the token is not a JWT, even if it has two dots.
    object(header)?;
    moment(object(claims)?.get("exp")?)
}

fn object(part: &[u8]) -> Option<Map<String, Value>> {
    if part.len() > MAX_LENGTH {
        return None;
    }
    serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
}

/// Reads a `NumericDate`: seconds since 1970, fractions allowed (RFC 7519 §2).
fn moment(exp: &Value) -> Option<SystemTime> {
    let since = match exp.as_u64() {
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::try_from_secs_f64(exp.as_f64()?).ok()?,
    };
    UNIX_EPOCH.checked_add(since)
}
