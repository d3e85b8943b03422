//! The requests: `POST`, 8 headers, a JSON body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

use crate::upstream::Body;

pub const URI: &str = "https://api.example.com/v1/messages";

const NAMES: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    // The caller's credential, which every stack replaces.
    header::AUTHORIZATION,
    header::USER_AGENT,
    header::ACCEPT_ENCODING,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("api-version"),
    HeaderName::from_static("traceparent"),
];
const VALUES: [&str; 8] = [
    "application/json",
    "application/json",
    "Bearer caller-0123456789abcdef0123456789",
    "example/1.4.2 (linux; x86_64)",
    "gzip, br, zstd",
    "7f9c2ba4-e88f-41f0-9d1e-6b2a0c5d3e4f",
    "2026-06-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
];
/// A paragraph with long runs without an escape, a quotation, and a line end.
const PROSE: &str = concat!(
    "Whether the upstream has done the work is not known when the answer is lost on its way, and ",
    "so a request that costs money is not sent again without a key that makes the second one ",
    r#"harmless. The letter said \"not before Monday\", which nobody had read. What was refused is "#,
    "another matter: nothing was done, and the next account may be asked at once, as long as ",
    r"there is one that the upstream has not seen misused in the last few minutes.\n",
);

/// The position of the model in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    First,
    Last,
}

/// A factory of requests.
#[derive(Clone, Debug)]
pub struct Requests {
    uri: Uri,
    values: [HeaderValue; 8],
    body: Bytes,
    /// Builds values and body anew for each request, like a caller that does not keep them.
    fresh: bool,
}

impl Requests {
    /// Builds a factory that shares no values with others.
    pub fn new(size: usize, model: Model, fresh: bool) -> Self {
        let mut maker = Self {
            uri: String::from(URI).parse().unwrap(),
            values: VALUES.map(|value| HeaderValue::from_str(value).unwrap()),
            body: Bytes::from(body(size, model)),
            fresh,
        };
        // Two of the headers are always constants.
        maker.values[0] = HeaderValue::from_static(VALUES[0]);
        maker.values[1] = HeaderValue::from_static(VALUES[1]);
        maker
    }

    /// Sends the requests to this URI instead.
    pub fn to(&mut self, uri: Uri) {
        self.uri = uri;
    }

    pub fn one(&self) -> Request<Body> {
        let body = if self.fresh { Bytes::from(self.body.to_vec()) } else { self.body.clone() };
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        for (i, (name, value)) in NAMES.iter().zip(&self.values).enumerate() {
            let anew = self.fresh && i > 1;
            let value = if anew {
                HeaderValue::from_bytes(value.as_bytes()).unwrap()
            } else {
                value.clone()
            };
            request.headers_mut().insert(name, value);
        }
        request
    }
}

fn body(size: usize, model: Model) -> Vec<u8> {
    let (start, end) = match model {
        Model::First => (
            "{\"model\":\"model-1\",\"max_tokens\":1024,\"messages\":[{\"role\":\"user\",\"content\":\"",
            "\"}]}",
        ),
        Model::Last => (
            "{\"max_tokens\":1024,\"messages\":[{\"role\":\"user\",\"content\":\"",
            "\"}],\"model\":\"model-1\"}",
        ),
    };
    let mut text = String::from(start);
    while text.len() + PROSE.len() + end.len() <= size {
        text.push_str(PROSE);
    }
    while text.len() + end.len() < size {
        text.push('x');
    }
    text.push_str(end);
    text.into_bytes()
}
