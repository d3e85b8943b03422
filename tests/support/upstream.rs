//! An in-process upstream that plays a script and records every attempt.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::BoxError;

use super::stack::Body;

/// The reply of the upstream to one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) play: Play,
}

#[derive(Clone, Debug)]
pub(crate) enum Play {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// An error; see [`error`].
    Error(String),
    /// Never answers.
    Hang,
    /// Echoes every header value of the request, in a header, in the body, with this status.
    Echo(u16),
    /// Fails with an error that quotes every header value of the request.
    EchoError,
}

impl Step {
    pub(crate) fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let body = Bytes::copy_from_slice(body.as_bytes());
        Self::play(Play::Answer { status, headers, body })
    }

    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::answer(status, &[("content-type", "application/json")], body)
    }

    pub(crate) fn error(kind: &str) -> Self {
        Self::play(Play::Error(kind.to_owned()))
    }

    pub(crate) fn hang() -> Self {
        Self::play(Play::Hang)
    }

    pub(crate) fn play(play: Play) -> Self {
        Self { after: Duration::ZERO, play }
    }

    pub(crate) fn after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }
}

/// One received attempt.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// The bearer token, or the whole `authorization` of another scheme.
    pub(crate) token: Option<String>,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
    /// The number of the caller's [`Mark`], if the attempt has one.
    pub(crate) marked: Option<u32>,
}

/// An extension of the caller that must be on every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u32);

#[derive(Debug, Default)]
struct Inner {
    sent: Vec<Sent>,
    script: VecDeque<Step>,
    by_token: HashMap<String, VecDeque<Step>>,
    by_model: HashMap<String, VecDeque<Step>>,
    forever: HashMap<String, Step>,
    otherwise: Option<Step>,
    dropped: usize,
    ready_polls: usize,
    readied: usize,
    busy: bool,
}

/// See the [module](self). Clones share everything but their readiness.
#[derive(Debug, Default)]
pub(crate) struct Upstream {
    inner: Arc<Mutex<Inner>>,
    ready: bool,
}

impl Clone for Upstream {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), ready: false }
    }
}

impl Upstream {
    /// Plays these steps in order, then answers 200.
    pub(crate) fn script(steps: impl IntoIterator<Item = Step>) -> Self {
        let upstream = Self::default();
        upstream.lock().script = steps.into_iter().collect();
        upstream
    }

    /// Plays these statuses in order, then answers 200.
    pub(crate) fn statuses(statuses: &[u16]) -> Self {
        Self::script(statuses.iter().copied().map(Step::status))
    }

    /// Sets replies to requests with this token, in order, before the common script.
    pub(crate) fn token(self, token: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.lock().by_token.insert(token.to_owned(), steps.into_iter().collect());
        self
    }

    /// Sets replies to requests whose JSON body names this model, in order, before all others.
    pub(crate) fn model(self, model: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        self.lock().by_model.insert(model.to_owned(), steps.into_iter().collect());
        self
    }

    /// Sets the reply to all requests with this token.
    pub(crate) fn token_forever(self, token: &str, step: Step) -> Self {
        self.lock().forever.insert(token.to_owned(), step);
        self
    }

    /// Changes the reply to all requests with this token.
    pub(crate) fn set_token(&self, token: &str, step: Step) {
        self.lock().forever.insert(token.to_owned(), step);
    }

    /// Sets the reply to all other requests, instead of 200.
    pub(crate) fn otherwise(self, step: Step) -> Self {
        self.lock().otherwise = Some(step);
        self
    }

    /// Appends these steps to the script.
    pub(crate) fn push(&self, steps: impl IntoIterator<Item = Step>) {
        self.lock().script.extend(steps);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock().sent.len()
    }

    /// Returns the token of each attempt; an empty string for none.
    pub(crate) fn tokens(&self) -> Vec<String> {
        self.sent().into_iter().map(|sent| sent.token.unwrap_or_default()).collect()
    }

    /// Returns the waits between attempts.
    pub(crate) fn waits(&self) -> Vec<Duration> {
        self.sent().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }

    /// Returns the number of response futures dropped before they were ready.
    pub(crate) fn dropped(&self) -> usize {
        self.lock().dropped
    }

    /// Returns the number of readiness polls.
    pub(crate) fn ready_polls(&self) -> usize {
        self.lock().ready_polls
    }

    /// Returns the number of successful readiness polls.
    pub(crate) fn readied(&self) -> usize {
        self.lock().readied
    }

    /// Makes all clones pending, or ready again.
    pub(crate) fn busy(&self, busy: bool) {
        self.lock().busy = busy;
    }

    fn step(&self, token: Option<&str>, body: &[u8]) -> Step {
        let mut inner = self.lock();
        if !inner.by_model.is_empty() {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let model = body["model"].as_str().unwrap_or_default();
            if let Some(step) = inner.by_model.get_mut(model).and_then(VecDeque::pop_front) {
                return step;
            }
        }
        let own = token.and_then(|token| inner.by_token.get_mut(token)?.pop_front());
        own.or_else(|| inner.forever.get(token?).cloned())
            .or_else(|| inner.script.pop_front())
            .or_else(|| inner.otherwise.clone())
            .unwrap_or_else(|| Step::status(200))
    }
}

/// Builds the error for a kind of the sample cases, as a client would.
pub(crate) fn error(kind: &str) -> BoxError {
    use std::io::{Error, ErrorKind};
    match kind {
        "timeout" => Box::new(Error::new(ErrorKind::TimedOut, "timed out")),
        "connect" => Box::new(Error::new(ErrorKind::ConnectionRefused, "connection refused")),
        "reset" | "connection-reset" => {
            Box::new(Error::new(ErrorKind::ConnectionReset, "connection reset"))
        }
        "eof" => Box::new(Error::new(ErrorKind::UnexpectedEof, "unexpected end of file")),
        other => other.to_owned().into(),
    }
}

impl tower::Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.ready_polls += 1;
        if inner.busy {
            return Poll::Pending;
        }
        inner.readied += 1;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        let (head, body) = request.into_parts();
        let body = now(body.collect()).unwrap().to_bytes();
        let token = head.headers.get("authorization").map(|value| {
            let value = value.to_str().unwrap();
            value.strip_prefix("Bearer ").unwrap_or(value).to_owned()
        });
        let step = self.step(token.as_deref(), &body);
        let play = match step.play {
            Play::Echo(_) | Play::EchoError => {
                let mut seen: Vec<_> = head.headers.values().collect();
                seen.dedup();
                let text: Vec<_> =
                    seen.iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
                let text = format!("{} {}", text.join(" "), head.uri);
                match step.play {
                    Play::Echo(status) => Play::Answer {
                        status,
                        headers: vec![
                            ("x-request-id".into(), text.clone()),
                            (
                                "www-authenticate".into(),
                                format!("Bearer error_description=\"{text}\""),
                            ),
                        ],
                        body: text.into(),
                    },
                    _ => Play::Error(text),
                }
            }
            play => play,
        };
        self.lock().sent.push(Sent {
            token,
            method: head.method,
            uri: head.uri,
            headers: head.headers,
            body,
            at: Instant::now(),
            marked: head.extensions.get::<Mark>().map(|mark| mark.0),
        });
        let wait = (!step.after.is_zero()).then(|| Box::pin(tokio::time::sleep(step.after)));
        Answer { inner: self.inner.clone(), wait, play: Some(play) }
    }
}

/// The future of one attempt.
pub(crate) struct Answer {
    inner: Arc<Mutex<Inner>>,
    wait: Option<Pin<Box<tokio::time::Sleep>>>,
    play: Option<Play>,
}

impl Future for Answer {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wait) = &mut self.wait {
            std::task::ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if matches!(self.play, Some(Play::Hang)) {
            return Poll::Pending;
        }
        Poll::Ready(match self.play.take().expect("polled after the end") {
            Play::Answer { status, headers, body } => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                Ok(response.body(Full::from(body)).unwrap())
            }
            Play::Error(kind) => Err(error(&kind)),
            Play::Hang | Play::Echo(_) | Play::EchoError => unreachable!("played above"),
        })
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.play.is_some() {
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).dropped += 1;
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("play", &self.play).finish_non_exhaustive()
    }
}

/// Returns the output of a future that is ready at once.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    futures_util::FutureExt::now_or_never(future).expect("ready at once")
}
