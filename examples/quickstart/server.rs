//! A video API on a local socket.
//!
//! | request | answer | or |
//! | --- | --- | --- |
//! | `POST /v1/images` | 201 `{"id"}` | 401 |
//! | `POST /v1/videos` `{"model", "prompt", "image", "copies"}` | 200 `{"id", "model"}`, billed | 400, 401, 404, 503, 529, nothing |
//!
//! Errors have the usual form of providers: `{"error": {"message", "type", "code"}}`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use super::job::Error;

/// The image that is uploaded before the first scene.
pub(crate) const IMAGE: &str = "img-1";

/// A fault of the server, apart from unknown tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Its first model is overloaded.
    FirstModel,
    /// It is busy for a second from the first call on, and sends a `Retry-After`.
    OneSecond,
    /// It is busy, and sends no `Retry-After`.
    Busy,
    /// It does the work of the first call, and closes the connection without an answer.
    FirstAnswer,
}

/// A server that runs until it is dropped.
pub(crate) struct VideoApi {
    address: SocketAddr,
    desk: Arc<Desk>,
    listening: JoinHandle<()>,
}

/// The state of the server.
struct Desk {
    tokens: Vec<String>,
    models: Vec<String>,
    trouble: Trouble,
    since: OnceLock<Instant>,
    images: Mutex<Vec<String>>,
    answers: Mutex<Vec<StatusCode>>,
    billed: Mutex<usize>,
}

impl VideoApi {
    /// Listens on a free port.
    pub(crate) async fn start(
        tokens: &[String],
        models: &[String],
        trouble: Trouble,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk {
            tokens: tokens.to_vec(),
            models: models.to_vec(),
            trouble,
            since: OnceLock::new(),
            images: Mutex::new(vec![IMAGE.to_owned()]),
            answers: Mutex::default(),
            billed: Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, desk.clone()));
        Ok(Self { address, desk, listening })
    }

    /// Returns the origin of the server.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the status of every call so far, oldest first, whether the answer arrived or not.
    pub(crate) fn answers(&self) -> Vec<StatusCode> {
        locked(&self.desk.answers).clone()
    }

    /// Returns the number of billed videos.
    pub(crate) fn billed(&self) -> usize {
        *locked(&self.desk.billed)
    }
}

impl Drop for VideoApi {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, desk: Arc<Desk>) {
    while let Ok((stream, _)) = listener.accept().await {
        let desk = desk.clone();
        let service = service_fn(move |request| answer(desk.clone(), request));
        // The task ends when the client closes the connection.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Answers one request. An error closes the connection.
async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let token = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();

    let (status, answer) = desk.decide(&head.method, head.uri.path(), token, &body);
    let calls = {
        let mut answers = locked(&desk.answers);
        answers.push(status);
        answers.len()
    };
    if desk.trouble == Trouble::FirstAnswer && calls == 1 {
        return Err("the connection is cut".into());
    }

    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if desk.trouble == Trouble::OneSecond && status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}

impl Desk {
    fn decide(&self, method: &Method, path: &str, token: &str, body: &[u8]) -> (StatusCode, Value) {
        if !self.tokens.iter().any(|known| known == token) {
            return error(401, "Incorrect API key provided.", "invalid_api_key");
        }
        match (method, path) {
            (&Method::POST, "/v1/images") => self.upload(),
            (&Method::POST, "/v1/videos") => self.make(body),
            _ => error(404, "No such resource.", "not_found"),
        }
    }

    fn upload(&self) -> (StatusCode, Value) {
        let mut images = locked(&self.images);
        let id = format!("img-{}", images.len() + 1);
        images.push(id.clone());
        (StatusCode::CREATED, json!({"id": id}))
    }

    fn make(&self, body: &[u8]) -> (StatusCode, Value) {
        let Ok(job) = serde_json::from_slice::<Value>(body) else {
            return error(400, "The body is not JSON.", "invalid_json");
        };
        let model = job["model"].as_str().unwrap_or_default();
        if !self.models.iter().any(|known| known == model) {
            return error(404, &format!("The model {model:?} does not exist."), "model_not_found");
        }
        let image = job["image"].as_str().unwrap_or_default();
        if !locked(&self.images).iter().any(|known| known == image) {
            return error(400, &format!("The image {image:?} has expired."), "image_not_found");
        }
        if self.is_busy() {
            return error(503, "The server is busy.", "unavailable");
        }
        if self.trouble == Trouble::FirstModel && self.models.first().is_some_and(|m| m == model) {
            return error(529, &format!("The model {model:?} is overloaded."), "overloaded_error");
        }
        let copies = job["copies"].as_u64().and_then(|copies| usize::try_from(copies).ok());
        *locked(&self.billed) += copies.unwrap_or(1);
        let id = format!("video-{}", locked(&self.answers).len() + 1);
        (StatusCode::OK, json!({"id": id, "model": model}))
    }

    fn is_busy(&self) -> bool {
        let since = *self.since.get_or_init(Instant::now);
        match self.trouble {
            Trouble::Busy => true,
            Trouble::OneSecond => since.elapsed() < Duration::from_secs(1),
            Trouble::None | Trouble::FirstModel | Trouble::FirstAnswer => false,
        }
    }
}

fn error(status: u16, message: &str, code: &str) -> (StatusCode, Value) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = "invalid_request_error";
    (status, json!({"error": {"message": message, "type": kind, "code": code}}))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
