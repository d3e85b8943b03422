//! The pipeline: scenes are created by whichever account is next, then polled and downloaded with
//! the account that made them; what is lost with an account is made again.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_failover::{Code, RequestOptions, ServedBy, body::FailoverBody, failure};

use super::accounts::{Body, Client, Error};

/// The body of an answer: the API's, or this crate's own.
type Answer = FailoverBody<Incoming>;

/// A scene that is being made: what a program writes into its database. The account stands in it,
/// never a token. With feature `serde`, `ServedBy` can be serialized; a program that gives ids to
/// users of its own hides the account in them with `JobIds` (feature `job-ids`).
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) scene: usize,
    /// The API's id.
    pub(crate) id: String,
    pub(crate) by: ServedBy,
}

/// What came of asking for a scene once.
pub(crate) enum Came {
    /// It is not finished, or its account must wait.
    Nothing,
    Video(Bytes),
    /// Its account cannot be asked any more, and nobody else can.
    Lost(Code),
}

/// A film while it is made.
pub(crate) struct Film {
    client: Client,
    url: String,
    /// What is being made.
    pub(crate) working: Vec<Job>,
    /// What has been downloaded. A program would write it somewhere.
    pub(crate) videos: Vec<(Job, Bytes)>,
    /// What was lost, and why. Each has been created again.
    pub(crate) lost: Vec<(Job, Code)>,
}

impl Film {
    pub(crate) fn new(client: Client, url: String) -> Self {
        Self { client, url, working: Vec::new(), videos: Vec::new(), lost: Vec::new() }
    }

    /// Has a scene made by whichever account is next. One whose token is refused does not count: the
    /// next one serves.
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

    /// Asks for every scene that is being made, all at once. What is finished is downloaded; what is
    /// lost is created again.
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

    /// Polls once, and downloads what is finished.
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

    /// Asks the account that made it, and no other.
    async fn get(&self, job: &Job, what: &str) -> Result<Response<Answer>, Error> {
        let Job { id, by, .. } = job;
        let mut request =
            Request::get(format!("{}/v1/scenes/{id}{what}", self.url)).body(Body::default())?;
        let owner = by.account.clone().ok_or("a scene of no account")?;
        request.extensions_mut().insert(RequestOptions::new().pin(owner));
        Ok(self.client.clone().oneshot(request).await?)
    }
}

/// What it means for a scene when its account's credential is the reason of an answer: a 401 ends
/// the account's part, whoever said so; a 429 or a 503 passes.
fn without<B>(answer: &Response<B>) -> Option<Came> {
    let cause = failure(answer)?;
    let over = answer.status() == StatusCode::UNAUTHORIZED;
    Some(if over { Came::Lost(cause.code) } else { Came::Nothing })
}

/// The body of a success.
async fn bytes(answer: Response<Answer>) -> Result<Bytes, Error> {
    if !answer.status().is_success() {
        return Err(format!("the server answered {}", answer.status()).into());
    }
    Ok(answer.into_body().collect().await?.to_bytes())
}
