//! The state of the API: accounts and their tokens, scenes, and counts.
//!
//! | request | answer | or |
//! | --- | --- | --- |
//! | `POST /oauth/token` (RFC 6749 §6) | 200 `{"access_token", "expires_in"}` | 400 |
//! | `POST /v1/scenes` `{"scene", "prompt"}` | 201 `{"id"}` | 401, 403 |
//! | `GET /v1/scenes/{id}` | 200 `{"status"}` | 401, 403, 404 for every account but its owner |
//! | `GET /v1/scenes/{id}/video` | 200, the video | 401, 403, 404 |
//!
//! Every second scene of an account is finished when it is polled for the first time, the others
//! with the second poll. Every account with a valid token can fetch a video, so that a download with
//! the wrong account shows in the counts.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Method, header::AUTHORIZATION};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::accounts::{Login, PROJECT};

/// The output of `--json`. The server counts all fields but `reports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Different scenes that were requested.
    pub(crate) scenes: usize,
    /// Scenes that were finished.
    pub(crate) made: usize,
    /// Finished videos that were fetched.
    pub(crate) downloaded: usize,
    /// Finished videos that were fetched by the account that made them.
    pub(crate) downloaded_with_owner: usize,
    /// Tokens that were issued for a refresh token.
    pub(crate) refreshes: usize,
    /// Requests that arrived with a token after the first 401 to that token.
    ///
    /// Requests that had arrived before were in flight, and do not count. The two cannot be confused:
    /// requests with an expired token are [held](Desk::receive) until all of them have arrived, and
    /// a single request meets the rejection of a revoked token.
    pub(crate) sends_after_refusal: usize,
    /// Events at level warn or above.
    pub(crate) reports: usize,
}

/// Status and body.
pub(crate) type Answer = (u16, Value);

pub(crate) struct Desk(Mutex<Book>);

struct Book {
    owners: Vec<Owner>,
    /// The scenes; the id of a scene is its index.
    scenes: Vec<Scene>,
    /// Tokens that were answered with a 401.
    rejected: HashSet<String>,
    /// Holds requests with an expired token until all of them have arrived.
    gate: Arc<Barrier>,
    /// The number of requests that arrived before the first of them was answered.
    together: usize,
    counts: Counts,
}

struct Owner {
    login: Login,
    state: State,
    tokens: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// The token has expired.
    Expired,
    Revoked,
}

struct Scene {
    number: u64,
    owner: usize,
    /// The number of polls until it is finished.
    polls: usize,
    cancelled: bool,
}

impl Desk {
    pub(crate) fn new(logins: &[Login]) -> Self {
        let owners = logins.iter().cloned();
        let owners = owners.map(|login| Owner { login, state: State::Good, tokens: 1 }).collect();
        Self(Mutex::new(Book {
            owners,
            scenes: Vec::new(),
            rejected: HashSet::new(),
            gate: Arc::new(Barrier::new(1)),
            together: 0,
            counts: Counts::default(),
        }))
    }

    /// Lets the token of the account expire, without notice. Returns the number of its unfinished
    /// scenes: that many polls are held, so that they meet the expiry together.
    pub(crate) fn expire(&self, account: &str) -> usize {
        let mut book = self.book();
        let owner = book.end(account, State::Expired);
        let open = book.scenes.iter().filter(|scene| scene.is_open_for(owner)).count();
        book.gate = Arc::new(Barrier::new(open));
        open
    }

    /// Revokes the account, with its refresh token and its unfinished scenes.
    pub(crate) fn revoke(&self, account: &str) {
        let mut book = self.book();
        let owner = book.end(account, State::Revoked);
        for scene in &mut book.scenes {
            scene.cancelled |= scene.is_open_for(owner);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.book().counts.clone()
    }

    /// Returns the number of requests that met an expired token together.
    pub(crate) fn together(&self) -> usize {
        self.book().together
    }

    /// Records a request that has arrived. Returns the barrier that its answer must wait for.
    pub(crate) fn receive(&self, headers: &HeaderMap) -> Option<Arc<Barrier>> {
        let token = bearer(headers);
        let mut book = self.book();
        if book.rejected.contains(token) {
            book.counts.sends_after_refusal += 1;
            return None;
        }
        let expired = |owner: &Owner| owner.state == State::Expired && owner.login.token == token;
        if !book.owners.iter().any(expired) {
            return None;
        }
        book.together += 1;
        Some(book.gate.clone())
    }

    pub(crate) fn decide(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Answer {
        let mut book = self.book();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        if (method, parts.as_slice()) == (&Method::POST, ["oauth", "token"].as_slice()) {
            return book.refresh(body);
        }
        let owner = match book.admit(headers) {
            Ok(owner) => owner,
            Err(rejection) => return rejection,
        };
        match (method, parts.as_slice()) {
            (&Method::POST, ["v1", "scenes"]) => book.create(owner, body),
            (&Method::GET, ["v1", "scenes", id]) => book.poll(owner, id),
            (&Method::GET, ["v1", "scenes", id, "video"]) => book.hand_out(owner, id),
            _ => not_found(),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Returns the account of a request that has both the token and the project of the account.
    fn admit(&mut self, headers: &HeaderMap) -> Result<usize, Answer> {
        let token = bearer(headers);
        let known = self.owners.iter().position(|owner| owner.login.token == token);
        let (message, code) = match known.map(|owner| (owner, self.owners[owner].state)) {
            Some((owner, State::Good)) => {
                let project = headers.get(PROJECT).map(http::HeaderValue::as_bytes);
                if project == Some(self.owners[owner].login.project.as_bytes()) {
                    return Ok(owner);
                }
                return Err(error(403, "The project belongs to another account.", "wrong_project"));
            }
            Some((_, State::Expired)) => ("The access token has expired.", "token_expired"),
            Some((_, State::Revoked)) => ("The access token was revoked.", "token_revoked"),
            None => ("Incorrect API key provided.", "invalid_api_key"),
        };
        self.rejected.insert(token.to_owned());
        Err(error(401, message, code))
    }

    /// Answers a refresh token grant.
    fn refresh(&mut self, form: &[u8]) -> Answer {
        let form = String::from_utf8_lossy(form);
        let used = form.strip_prefix("grant_type=refresh_token&refresh_token=").unwrap_or_default();
        let owner = self.owners.iter_mut().find(|owner| owner.login.refresh_token == used);
        let Some(owner) = owner.filter(|owner| owner.state != State::Revoked) else {
            return (400, json!({"error": "invalid_grant"}));
        };
        owner.tokens += 1;
        owner.login.token = token(owner.login.account, owner.tokens);
        owner.state = State::Good;
        self.counts.refreshes += 1;
        (
            200,
            json!({"access_token": owner.login.token, "token_type": "Bearer", "expires_in": 3600}),
        )
    }

    fn create(&mut self, owner: usize, body: &[u8]) -> Answer {
        let Some(number) =
            serde_json::from_slice::<Value>(body).ok().and_then(|b| b["scene"].as_u64())
        else {
            return error(400, "The body has no scene.", "invalid_json");
        };
        if !self.scenes.iter().any(|scene| scene.number == number) {
            self.counts.scenes += 1;
        }
        let before = self.scenes.iter().filter(|scene| scene.owner == owner).count();
        self.scenes.push(Scene { number, owner, polls: 2 - before % 2, cancelled: false });
        (201, json!({"id": (self.scenes.len() - 1).to_string()}))
    }

    fn poll(&mut self, owner: usize, id: &str) -> Answer {
        // For other accounts it does not exist.
        let Some(scene) = self.find(id).filter(|scene| scene.owner == owner) else {
            return not_found();
        };
        let finished_now = scene.polls == 1;
        scene.polls = scene.polls.saturating_sub(1);
        let status = if scene.polls == 0 { "done" } else { "working" };
        self.counts.made += usize::from(finished_now);
        (200, json!({"status": status}))
    }

    fn hand_out(&mut self, owner: usize, id: &str) -> Answer {
        let Some(scene) = self.find(id).filter(|scene| scene.polls == 0) else {
            return not_found();
        };
        let (number, with_owner) = (scene.number, scene.owner == owner);
        self.counts.downloaded += 1;
        self.counts.downloaded_with_owner += usize::from(with_owner);
        (200, json!(format!("video of scene {number}")))
    }

    fn find(&mut self, id: &str) -> Option<&mut Scene> {
        let scene = self.scenes.get_mut(id.parse::<usize>().ok()?)?;
        (!scene.cancelled).then_some(scene)
    }

    /// Puts an account into a state, and returns its index.
    fn end(&mut self, account: &str, state: State) -> usize {
        let place = self.owners.iter().position(|owner| owner.login.account == account);
        let place = place.expect("an account of the settings");
        self.owners[place].state = state;
        place
    }
}

impl Scene {
    /// Returns whether this account is making the scene.
    fn is_open_for(&self, owner: usize) -> bool {
        self.owner == owner && self.polls > 0 && !self.cancelled
    }
}

/// Returns the video of a scene, as the server sends it.
pub(crate) fn video(scene: usize) -> String {
    format!("\"video of scene {scene}\"")
}

/// Returns the `n`-th token of the account.
pub(crate) fn token(account: &str, n: usize) -> String {
    format!("token-{n}-of-{account}")
}

fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

fn not_found() -> Answer {
    error(404, "No such scene.", "not_found")
}

fn error(status: u16, message: &str, code: &str) -> Answer {
    (status, json!({"error": {"message": message, "code": code}}))
}
