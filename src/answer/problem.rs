//! Problem details (RFC 9457).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};

/// A problem document (RFC 9457): the body of a local answer, and a builder for answers of
/// [your own](crate::failover::FailoverBuilder::local_answer).
///
/// 1. Members that are not set are left out, never `null`.
/// 2. Without a type of its own (`about:blank`) the title is the status's phrase (§4.2.1).
/// 3. `status` is the status of the response (§3.1.2).
///
/// ```
/// use http::StatusCode;
/// use tower_failover::answer::Problem;
///
/// let answer = Problem::new(StatusCode::NOT_FOUND).member("video", "42").into_response();
/// assert_eq!(answer.headers()["content-type"], "application/problem+json");
/// assert_eq!(answer.body(), r#"{"status":404,"title":"Not Found","video":"42"}"#);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
}

impl Problem {
    /// Creates a problem of this status, with the status's phrase as its title.
    pub fn new(status: StatusCode) -> Self {
        let mut members = Map::new();
        members.insert("status".into(), status.as_u16().into());
        if let Some(title) = status.canonical_reason() {
            members.insert("title".into(), title.into());
        }
        Self { status, members }
    }

    /// Sets an explanation of this occurrence for a person (§3.1.4).
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.member("detail", detail.into())
    }

    /// Sets an extension member (§3.2), or one of the standard members. `status` cannot be changed.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if name != "status" {
            self.members.insert(name, value.into());
        }
        self
    }

    /// Builds the response: status, `application/problem+json`, and the document.
    pub fn into_response(self) -> Response<Bytes> {
        let body = Value::Object(self.members).to_string();
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
