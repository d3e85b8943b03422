//! The retry that this crate replaces: three levels, each of which tries every model.
//!
//! 1. Each model, for all copies at once.
//! 2. After a 400: the image is uploaded again, then each model.
//! 3. The copies one by one, with each model, swallowing every error.
//!
//! No level looks at the cause: a dead token is sent again and again, a busy server is called again
//! at once, and work that may have been done is done again.

use http::{HeaderValue, header::AUTHORIZATION};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::job::{Body, Error, Job, Scene, post};

/// A program that reads its tokens at start.
pub(crate) struct Naive {
    http: HttpClient<HttpConnector, Body>,
    url: String,
    tokens: Vec<String>,
    models: Vec<String>,
    /// The lines of its log.
    pub(crate) lines: Vec<String>,
}

impl Naive {
    pub(crate) fn new(url: &str, tokens: &[String], models: &[String]) -> Self {
        Self {
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
            url: url.to_owned(),
            tokens: tokens.to_vec(),
            models: models.to_vec(),
            lines: Vec::new(),
        }
    }

    /// Makes one scene, or at least one copy of it.
    pub(crate) async fn make(&mut self, job: &Job) -> Result<Scene, Error> {
        let mut job = job.clone();
        let mut tries = Tries::default();

        // Level 1.
        if self.each_model(&job, &mut tries).await? {
            return Ok(tries.scene(true));
        }
        // Level 2.
        if tries.seen_400 {
            if let Some(image) = self.upload(&mut tries).await? {
                job.image = image;
                if self.each_model(&job, &mut tries).await? {
                    return Ok(tries.scene(true));
                }
            }
        }
        // Level 3.
        let copy = Job { copies: 1, ..job };
        let mut made = false;
        for _ in 0..job.copies {
            made |= self.each_model(&copy, &mut tries).await?;
        }
        Ok(tries.scene(made))
    }

    /// Tries each model, and returns whether one made it.
    async fn each_model(&mut self, job: &Job, tries: &mut Tries) -> Result<bool, Error> {
        for model in self.models.clone() {
            let request = job.request(&self.url, &model)?;
            if self.send(request, tries).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Uploads the image again, and returns its id.
    async fn upload(&mut self, tries: &mut Tries) -> Result<Option<String>, Error> {
        let request = post(&format!("{}/v1/images", self.url), &json!({"data": "aW1hZ2U="}))?;
        let answer = self.send(request, tries).await?;
        Ok(answer.and_then(|answer| answer["id"].as_str().map(str::to_owned)))
    }

    /// Makes one call, and logs a failure in one line or two.
    async fn send(
        &mut self,
        mut request: http::Request<Body>,
        tries: &mut Tries,
    ) -> Result<Option<Value>, Error> {
        if let Some(token) = self.tokens.first() {
            let value = HeaderValue::try_from(format!("Bearer {token}"))?;
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = match self.http.request(request).await {
            Ok(answer) => answer,
            // The work may have been done.
            Err(error) => {
                tries.last = "no answer".into();
                self.lines.push(format!("Request failed: {error}"));
                return Ok(None);
            }
        };
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body)?;
        tries.last = status.to_string();
        tries.seen_400 |= status == 400;
        match status {
            200 | 201 => return Ok(Some(body)),
            401 => {
                if !tries.seen_401 {
                    tries.seen_401 = true;
                    self.lines.push("HTTP 401: Token #1 is invalid (401 Unauthorized)".to_owned());
                }
                // It names all tokens, and has tried one.
                let all = self.tokens.len();
                self.lines.push(format!(
                    "HTTP 401: All {all} authentication token(s) are invalid or expired."
                ));
            }
            _ => {
                let message = body["error"]["message"].as_str().unwrap_or("unknown error");
                self.lines.push(format!("HTTP {status}: {message}"));
            }
        }
        Ok(None)
    }
}

/// The results of the calls for one scene.
#[derive(Default)]
struct Tries {
    seen_400: bool,
    seen_401: bool,
    last: String,
}

impl Tries {
    fn scene(self, made: bool) -> Scene {
        let outcome = if made { "200".to_owned() } else { self.last };
        Scene { made, outcome }
    }
}
