//! The pipeline: the next account creates a scene, and the scene is polled and downloaded with that
//! account. Scenes that are lost with an account are made again.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_failover::{Code, RequestOptions, ServedBy, body::FailoverBody, failure};

use super::accounts::{Body, Client, Error};

/// The body of an answer, of the API or of this crate.
type Answer = FailoverBody<Incoming>;

/// An unfinished scene, as a program keeps it in its database: with the account, never with a token.
/// With feature `serde`, `ServedBy` can be serialized. A program that gives ids to its users hides
/// the account in them with `JobIds` (feature `job-ids`).
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) scene: usize,
    /// The id of the API.
    pub(crate) id: String,
    pub(crate) by: ServedBy,
}

/// The result of one poll.
pub(crate) enum Came {
    /// The scene is not finished, or its account is cooling.
    Nothing,
    Video(Bytes),
    /// Its account cannot be used any more, and no other account has the scene.
    Lost(Code),
}

/// A film in progress.
pub(crate) struct Film {
    client: Client,
    url: String,
    /// The unfinished scenes.
    pub(crate) working: Vec<Job>,
    /// The downloaded videos. A program would store them.
    pub(crate) videos: Vec<(Job, Bytes)>,
    /// The lost jobs, and the codes. Each has been created again.
    pub(crate) lost: Vec<(Job, Code)>,
}

impl Film {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url, working: Vec::new(), videos: Vec::new(), lost: Vec::new() }
    }

    /// Creates a scene with the next account. If its token is rejected, the account after it serves.
    pub(crate) async fn create(&mut self, scene: usize) -> Result<(), Error> {
        let prompt = json!({"scene": scene, "prompt": "a cat crosses the street"});
        let request = Request::post(format!("{}/v1/scenes", self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(prompt.to_string()))?;
        let answer = self.client.clone().oneshot(request).await?;
        let by = answer.extensions().get::<ServedBy>().cloned().ok_or("nobody served")?;
        let made: Value = serde_json::from_slice(&bytes(answer).await?)?;
        let id = made["id"].as_str().ok_or("a scene without an id")?.to_owned();
        self.working.push(Job { scene, id, by });
        Ok(())
    }

    /// Polls all unfinished scenes concurrently. Finished ones are downloaded, lost ones are created
    /// again.
    pub(crate) async fn round(&mut self) -> Result<(), Error> {
        let jobs = std::mem::take(&mut self.working);
        let all = join_all(jobs.iter().map(|job| self.follow(job))).await;
        let mut lost = Vec::new();
        for (job, came) in jobs.into_iter().zip(all) {
            match came? {
                Came::Nothing => self.working.push(job),
                Came::Video(video) => self.videos.push((job, video)),
                Came::Lost(code) => lost.push((job, code)),
            }
        }
        for (job, code) in lost {
            self.create(job.scene).await?;
            self.lost.push((job, code));
        }
        Ok(())
    }

    /// Polls a scene once, and downloads it if it is finished.
    async fn follow(&self, job: &Job) -> Result<Came, Error> {
        let answer = self.get(job, "").await?;
        if let Some(came) = without(&answer) {
            return Ok(came);
        }
        let state: Value = serde_json::from_slice(&bytes(answer).await?)?;
        if state["status"] != "done" {
            return Ok(Came::Nothing);
        }
        let answer = self.get(job, "/video").await?;
        if let Some(came) = without(&answer) {
            return Ok(came);
        }
        Ok(Came::Video(bytes(answer).await?))
    }

    /// Sends a request with the account that made the scene, and with no other.
    async fn get(&self, job: &Job, what: &str) -> Result<Response<Answer>, Error> {
        let Job { id, by, .. } = job;
        let mut request =
            Request::get(format!("{}/v1/scenes/{id}{what}", self.url)).body(Body::default())?;
        let owner = by.account.clone().ok_or("a scene of no account")?;
        request.extensions_mut().insert(RequestOptions::new().pin(owner));
        Ok(self.client.clone().oneshot(request).await?)
    }
}

/// Returns what a failure of the account's credential means for a scene: after a 401, of the
/// upstream or local, the scene is lost; a 429 or a 503 is temporary.
fn without<B>(answer: &Response<B>) -> Option<Came> {
    let cause = failure(answer)?;
    let over = answer.status() == StatusCode::UNAUTHORIZED;
    Some(if over { Came::Lost(cause.code) } else { Came::Nothing })
}

/// Returns the body of a success.
async fn bytes(answer: Response<Answer>) -> Result<Bytes, Error> {
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()).into());
    }
    Ok(answer.into_body().collect().await?.to_bytes())
}
