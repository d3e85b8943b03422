//! A service below the layer that records each send and each answer.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project::pin_project;
use tokio::sync::watch;
use tower::Service;

use super::{
    book::{Book, Send},
    token::{Key, number},
};

thread_local! {
    /// The time at which the current poll of this thread began.
    static POLL: Cell<u64> = const { Cell::new(0) };
}

/// A client that records each request and its answer.
#[derive(Clone)]
pub(crate) struct Meter<S> {
    pub(crate) inner: S,
    pub(crate) book: Arc<Book>,
}

impl<S, B, RB> Service<Request<B>> for Meter<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
{
    type Response = Response<RB>;
    type Error = S::Error;
    type Future = Metered<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let known = number(request.headers()).zip(Key::of(request.headers()));
        let send = known.map(|(number, key)| self.book.sent(number, key, POLL.get()));
        let open = Open { book: self.book.clone(), send };
        Metered { inner: self.inner.call(request), open }
    }
}

/// The future of a [`Meter`].
#[pin_project]
pub(crate) struct Metered<F> {
    #[pin]
    inner: F,
    open: Open,
}

/// A send that has not ended. Its drop ends it.
struct Open {
    book: Arc<Book>,
    send: Option<Send>,
}

impl Open {
    fn end(&mut self, status: Option<u16>) {
        if let Some(send) = self.send.take() {
            self.book.ended(send, status);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<F: Future<Output = Result<Response<RB>, E>>, RB, E> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let polled = this.inner.poll(cx);
        if let Poll::Ready(answer) = &polled {
            this.open.end(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
        }
        polled
    }
}

/// A request that advances the clock of the book at each poll, and counts its first poll.
#[pin_project]
pub(crate) struct Clocked<F> {
    #[pin]
    inner: F,
    book: Arc<Book>,
    started: Option<Arc<Started>>,
}

impl<F> Clocked<F> {
    pub(crate) fn new(inner: F, book: Arc<Book>, started: Arc<Started>) -> Self {
        Self { inner, book, started: Some(started) }
    }
}

impl<F: Future> Future for Clocked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        POLL.set(this.book.tick());
        let polled = this.inner.poll(cx);
        if let (Some(started), true) = (this.started.take(), polled.is_pending()) {
            started.one();
        }
        polled
    }
}

/// The number of requests that have yet to start; no request can end before all have started.
pub(crate) struct Started {
    pub(crate) missing: AtomicU64,
    pub(crate) open: watch::Sender<bool>,
}

impl Started {
    fn one(&self) {
        if self.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.open.send_replace(true);
        }
    }
}
