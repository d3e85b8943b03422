//! A video API on a socket of its own.
//!
//! | request | answer | or |
//! | --- | --- | --- |
//! | `POST /v1/images` | 201 `{"id"}` | 401 |
//! | `POST /v1/videos` `{"model", "prompt", "image", "copies"}` | 200 `{"id", "model"}` | 400, 401, 404 |
//!
//! Errors are worded as providers word them: `{"error": {"message", "type", "code"}}`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The image that has been uploaded before the first scene.
pub(crate) const IMAGE: &str = "img-1";

/// A server that runs until it is dropped.
pub(crate) struct VideoApi {
    address: SocketAddr,
    desk: Arc<Desk>,
    listening: JoinHandle<()>,
}

/// What the server knows.
struct Desk {
    tokens: Vec<String>,
    models: Vec<String>,
    images: Mutex<Vec<String>>,
    answers: Mutex<Vec<StatusCode>>,
}

impl VideoApi {
    /// Listens on a free port.
    pub(crate) async fn start(tokens: &[String], models: &[String]) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk {
            tokens: tokens.to_vec(),
            models: models.to_vec(),
            images: Mutex::new(vec![IMAGE.to_owned()]),
            answers: Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, desk.clone()));
        Ok(Self { address, desk, listening })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What every call so far was answered with, oldest first.
    pub(crate) fn answers(&self) -> Vec<StatusCode> {
        locked(&self.desk.answers).clone()
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
        // It ends with its client.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    desk: Arc<Desk>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let token = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();

    let (status, answer) = desk.decide(&head.method, head.uri.path(), token, &body);
    locked(&desk.answers).push(status);

    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
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
        let id = format!("video-{}", locked(&self.answers).len() + 1);
        (StatusCode::OK, json!({"id": id, "model": model}))
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
