//! The work, and its result.

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::Full;
use serde_json::{Value, json};

/// Any error of the example itself.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body that is cheap to clone, so that a request can be sent again.
pub(crate) type Body = Full<Bytes>;

/// One scene of a film.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) prompt: String,
    /// The id of its first image, which has been uploaded.
    pub(crate) image: String,
    pub(crate) copies: usize,
}

impl Job {
    /// Builds the request that makes it with `model`.
    pub(crate) fn request(&self, url: &str, model: &str) -> http::Result<Request<Body>> {
        let Self { prompt, image, copies } = self;
        post(
            &format!("{url}/v1/videos"),
            &json!({"model": model, "prompt": prompt, "image": image, "copies": copies}),
        )
    }
}

pub(crate) fn post(uri: &str, body: &Value) -> http::Result<Request<Body>> {
    Request::post(uri).header(CONTENT_TYPE, "application/json").body(Full::from(body.to_string()))
}

/// The result of one scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) made: bool,
    /// The last outcome, for example `200`.
    pub(crate) outcome: String,
}
