//! The upstream that plays the script and logs all events in order.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::time::{Instant, Sleep};
use tower::{BoxError, Service};
use tower_failover::{Event, Pool, Reporter, Verdict};

use super::script::{Play, SECRET, Step, World};

/// One received attempt.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) id: u32,
    /// Account and generation of its token.
    pub(super) who: (usize, u64),
    pub(super) at: Instant,
    pub(super) verdict: Verdict,
    /// `None` for a step without an answer.
    pub(super) status: Option<StatusCode>,
    pub(super) body: Bytes,
    /// Whether the body is complete.
    pub(super) whole: bool,
    pub(super) answered: bool,
}

/// A credential that was replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    pub(super) account: usize,
    pub(super) generation: u64,
}

/// A log entry; attempts by their number.
#[derive(Clone, Copy, Debug)]
pub(super) enum LogEntry {
    Start(usize),
    Answer(usize, Instant),
    Drop(usize),
    Change(Changed),
}

#[derive(Debug, Default)]
struct Inner {
    script: VecDeque<Reply>,
    /// The delays of the readiness polls, in turn, and the number of polls.
    ready_delays: [Duration; 4],
    polls: usize,
    sent: Vec<Sent>,
    log: Vec<LogEntry>,
}

/// A step, ready to be played.
#[derive(Clone, Debug)]
struct Reply {
    play: Play,
    status: Option<StatusCode>,
    headers: HeaderMap,
    verdict: Verdict,
    after: Duration,
    body: Bytes,
    piece: usize,
    pauses: bool,
    whole: bool,
}

/// See the [module](self). Clones share everything but their readiness.
pub(super) struct TestUpstream {
    inner: Arc<Mutex<Inner>>,
    pool: Pool,
    ready: bool,
    ready_delay: Option<Pin<Box<Sleep>>>,
}

impl Clone for TestUpstream {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            pool: self.pool.clone(),
            ready: false,
            ready_delay: None,
        }
    }
}

impl TestUpstream {
    pub(super) fn new(world: &World<'_>, pool: &Pool) -> Self {
        let script = world.steps.iter().map(Reply::new).collect();
        let inner = Inner { script, ready_delays: world.ready_delays(), ..Inner::default() };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            pool: pool.clone(),
            ready: false,
            ready_delay: None,
        }
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        lock(&self.inner).sent.clone()
    }

    pub(super) fn log(&self) -> Vec<LogEntry> {
        lock(&self.inner).log.clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&Pool) -> Changed) {
        let changed = change(&self.pool);
        lock(&self.inner).log.push(LogEntry::Change(changed));
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reply {
    fn new(step: &Step<'_>) -> Self {
        Self {
            play: step.play,
            status: step.status(),
            headers: step.headers(),
            verdict: step.verdict(),
            after: Duration::from_millis(step.after.into()),
            body: Bytes::copy_from_slice(step.body),
            piece: step.piece(),
            pauses: step.pauses(),
            whole: step.whole(),
        }
    }

    /// Returns the reply after the end of the script.
    fn fine() -> Self {
        Self {
            play: Play::Known(0),
            status: Some(StatusCode::OK),
            headers: HeaderMap::new(),
            verdict: Verdict::Success,
            after: Duration::ZERO,
            body: Bytes::new(),
            piece: usize::MAX,
            pauses: false,
            whole: true,
        }
    }
}

impl Service<Request<Full<Bytes>>> for TestUpstream {
    type Response = Response<Pieces>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.ready && self.ready_delay.is_none() {
            let mut inner = lock(&self.inner);
            let ready_delay = inner.ready_delays[inner.polls % inner.ready_delays.len()];
            inner.polls += 1;
            self.ready_delay =
                (!ready_delay.is_zero()).then(|| Box::pin(tokio::time::sleep(ready_delay)));
        }
        if let Some(ready_delay) = &mut self.ready_delay {
            ready!(ready_delay.as_mut().poll(cx));
            self.ready_delay = None;
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Answer {
        assert!(std::mem::take(&mut self.ready), "called without being polled ready");
        let text = |name: &str| request.headers().get(name)?.to_str().ok();
        let id = text("x-request-id").and_then(|id| id.strip_prefix("r-")?.parse().ok());
        let who = text("authorization").and_then(|token| {
            let token = token.strip_prefix("Bearer ")?.strip_prefix(SECRET)?;
            let (account, generation) = token.strip_prefix('-')?.split_once('-')?;
            Some((account.parse().ok()?, generation.parse().ok()?))
        });
        let mut inner = lock(&self.inner);
        let reply = inner.script.pop_front().unwrap_or_else(Reply::fine);
        let number = inner.sent.len();
        inner.sent.push(Sent {
            id: id.expect("the caller's header is on each attempt"),
            who: who.expect("each attempt has a token"),
            at: Instant::now(),
            verdict: reply.verdict,
            status: reply.status,
            body: reply.body.clone(),
            whole: reply.whole,
            answered: false,
        });
        inner.log.push(LogEntry::Start(number));
        drop(inner);
        let wait = (!reply.after.is_zero()).then(|| Box::pin(tokio::time::sleep(reply.after)));
        Answer { inner: Arc::clone(&self.inner), number, wait, reply: Some(reply) }
    }
}

/// The future of one attempt.
pub(super) struct Answer {
    inner: Arc<Mutex<Inner>>,
    number: usize,
    wait: Option<Pin<Box<Sleep>>>,
    reply: Option<Reply>,
}

/// The header with the number of an answer.
pub(super) const NUMBER: &str = "x-answer";

impl Future for Answer {
    type Output = Result<Response<Pieces>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        if matches!(self.reply, Some(Reply { play: Play::Hang, .. })) {
            return Poll::Pending;
        }
        let reply = self.reply.take().expect("polled after the end");
        let mut inner = lock(&self.inner);
        inner.sent[self.number].answered = true;
        inner.log.push(LogEntry::Answer(self.number, Instant::now()));
        drop(inner);
        if let Some(error) = reply.play.error() {
            return Poll::Ready(Err(error.into()));
        }
        let Reply { body, piece, pauses, whole, .. } = reply;
        let mut answer = Response::new(Pieces { body, piece, pauses, whole, paused: false });
        *answer.status_mut() = reply.status.expect("a status, where there is no error");
        *answer.headers_mut() = reply.headers;
        answer.headers_mut().insert(NUMBER, self.number.into());
        Poll::Ready(Ok(answer))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.reply.is_some() {
            lock(&self.inner).log.push(LogEntry::Drop(self.number));
        }
    }
}

/// A body that comes in pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    body: Bytes,
    piece: usize,
    pauses: bool,
    whole: bool,
    paused: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.pauses && !std::mem::replace(&mut self.paused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.paused = false;
        if self.body.is_empty() {
            let cut = !std::mem::replace(&mut self.whole, true);
            return Poll::Ready(cut.then(|| Err("the answer was cut".into())));
        }
        let next = self.piece.min(self.body.len());
        Poll::Ready(Some(Ok(Frame::data(self.body.split_to(next)))))
    }
}

/// A reporter that records every event.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub(super) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}
