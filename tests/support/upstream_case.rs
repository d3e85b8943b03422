//! Heads, bodies and errors from the `upstream` member of a case.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part; a bad case is a panic"
)]

use std::io;

use http::{HeaderName, HeaderValue, Response, StatusCode, response::Parts};
use serde_json::Value;

/// Builds the head of an upstream entry. Its `error_code`, if any, becomes the header that AWS
/// uses.
pub(crate) fn head(entry: &Value) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    let status = entry["status"].as_u64().expect("a status");
    head.status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
    for (name, value) in entry["headers"].as_object().into_iter().flatten() {
        let value = HeaderValue::from_str(value.as_str().expect("one line")).unwrap();
        head.headers.append(name.parse::<HeaderName>().unwrap(), value);
    }
    if let Some(code) = entry["error_code"].as_str() {
        head.headers.insert("x-amzn-errortype", HeaderValue::from_str(code).unwrap());
    }
    head
}

/// Returns the body of an upstream entry.
pub(crate) fn body(entry: &Value) -> Option<Vec<u8>> {
    match (&entry["body"], &entry["body_text"]) {
        (Value::Null, Value::String(text)) => Some(text.clone().into_bytes()),
        (Value::Null, _) => None,
        (json, _) => Some(json.to_string().into_bytes()),
    }
}

/// Returns the error of an upstream entry.
pub(crate) fn error(entry: &Value) -> Option<io::Error> {
    Some(match entry["error"].as_str()? {
        "timeout" => io::ErrorKind::TimedOut.into(),
        "connection-reset" => io::ErrorKind::ConnectionReset.into(),
        other => io::Error::other(other.to_owned()),
    })
}
