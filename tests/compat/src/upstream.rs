//! An upstream on a loopback socket that checks tokens, plays a script and records attempts.

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;

/// The body of an answer.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// The handler of accepted requests.
type Handler = Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// One received attempt.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The bearer token; empty for none.
    pub token: String,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
}

#[derive(Default)]
struct State {
    rejected: HashSet<String>,
    /// The status for each of the next attempts; an attempt with `None` hangs.
    script: VecDeque<Option<u16>>,
    sent: Vec<Sent>,
}

/// See the [module](self). It speaks HTTP/1.1, HTTP/2 and gRPC.
pub struct Upstream {
    origin: String,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    /// Starts an upstream that streams the request's own body back.
    pub async fn echo() -> Self {
        Self::serving(|request| async { answer(StatusCode::OK, request.into_body().boxed()) }).await
    }

    /// Starts an upstream with this handler for attempts that are neither rejected nor scripted.
    pub async fn serving<F, Fut>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::<Mutex<State>>::default();
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        tokio::spawn(accept(listener, Arc::clone(&state), handler));
        Self { origin, state }
    }

    /// Returns scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the URL of this path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Rejects this token with 401 from now on.
    pub fn reject(&self, token: &str) {
        self.lock().rejected.insert(token.to_owned());
    }

    /// Answers the next accepted attempts with these statuses.
    pub fn next(&self, statuses: &[u16]) {
        self.lock().script.extend(statuses.iter().copied().map(Some));
    }

    /// Leaves the attempt after those without an answer.
    pub fn hang(&self) {
        self.lock().script.push_back(None);
    }

    /// Returns the attempts since the last call.
    pub fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.lock().sent)
    }

    /// Returns the tokens of the attempts since the last call.
    pub fn tokens(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.token).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Builds an answer with this status and body.
pub fn answer(status: StatusCode, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}

/// Builds an empty body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// Builds a body in memory.
pub fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>, handler: Handler) {
    while let Ok((stream, _)) = listener.accept().await {
        let (state, handler) = (Arc::clone(&state), Arc::clone(&handler));
        let service = service_fn(move |request| {
            let (state, handler) = (Arc::clone(&state), Arc::clone(&handler));
            async move { Ok::<_, Infallible>(serve(&state, &handler, request).await) }
        });
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            // A client that disconnects early is no error of the upstream.
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(
    state: &Mutex<State>,
    handler: &Handler,
    request: Request<Incoming>,
) -> Response<Body> {
    let grpc = request.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc);
    let status = {
        let mut state = lock(state);
        let sent = Sent::of(&request);
        let rejected = sent.token.is_empty() || state.rejected.contains(&sent.token);
        state.sent.push(sent);
        if rejected { Some(Some(401)) } else { state.script.pop_front() }
    };
    match status {
        None => handler(request).await,
        Some(None) => std::future::pending().await,
        Some(Some(status)) => failure(status, grpc),
    }
}

/// In gRPC, a failure is a trailers-only answer.
fn failure(status: u16, grpc: bool) -> Response<Body> {
    let mut answer = answer(StatusCode::from_u16(status).expect("a status"), empty());
    if grpc {
        let code = match status {
            401 => "16",
            503 => "14",
            _ => "2",
        };
        *answer.status_mut() = StatusCode::OK;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, "application/grpc".parse().expect("a type"));
        headers.insert("grpc-status", code.parse().expect("a code"));
    }
    answer
}

fn is_grpc(kind: &http::HeaderValue) -> bool {
    kind.as_bytes().starts_with(b"application/grpc")
}

impl Sent {
    fn of(request: &Request<Incoming>) -> Self {
        let value = request.headers().get(header::AUTHORIZATION);
        let token = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = request.uri().path_and_query().map(ToString::to_string);
        Self {
            token: token.strip_prefix("Bearer ").unwrap_or(token).to_owned(),
            method: request.method().clone(),
            path: path.unwrap_or_default(),
            headers: request.headers().clone(),
        }
    }
}
