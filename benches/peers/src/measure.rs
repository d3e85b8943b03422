//! Measures time and allocations of calls, without the code between them.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tower::Service;

use crate::{count, upstream::Body};

/// A stopwatch that also counts allocations.
pub struct Meter<'a> {
    runtime: &'a Runtime,
    woken: Arc<Woken>,
    waker: Waker,
    since: (Instant, u64, u64),
    pub time: Duration,
    pub allocs: u64,
    pub bytes: u64,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl<'a> Meter<'a> {
    pub fn new(runtime: &'a Runtime) -> Self {
        let woken = Arc::new(Woken::default());
        Self {
            runtime,
            waker: Waker::from(woken.clone()),
            woken,
            since: (Instant::now(), 0, 0),
            time: Duration::ZERO,
            allocs: 0,
            bytes: 0,
        }
    }

    pub fn resume(&mut self) {
        let (allocs, bytes) = count::so_far();
        self.since = (Instant::now(), allocs, bytes);
    }

    pub fn pause(&mut self) {
        let end = Instant::now();
        let (allocs, bytes) = count::so_far();
        self.time += end - self.since.0;
        self.allocs += allocs - self.since.1;
        self.bytes += bytes - self.since.2;
    }

    /// Drives a future to its end. Most are ready at the first poll; for a peer with a timer of
    /// zero, the watch pauses until the timer fires.
    #[inline]
    pub fn finish<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => self.wait(),
            }
        }
    }

    #[cold]
    fn wait(&mut self) {
        self.pause();
        // Busy waiting keeps the caches and the clock rate of the core.
        while !self.woken.0.swap(false, Relaxed) {
            self.runtime.block_on(tokio::task::yield_now());
        }
        self.resume();
    }
}

/// One stack in one case.
pub trait Subject: Send {
    /// Builds the requests of the next run; not timed.
    fn fill(&mut self, requests: Vec<Request<Body>>);

    /// Sends the requests in sequence.
    fn run(&mut self, meter: &mut Meter<'_>);

    /// Resets the accounts and everything else that a run uses up; not timed.
    fn reset(&mut self);

    /// Returns a clone for another thread.
    fn twin(&self) -> Box<dyn Subject>;
}

/// Checks the end of a call, so that the figures are for the right work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Status(StatusCode),
    Error,
}

impl Expect {
    pub fn check<B, E: std::fmt::Debug>(self, answer: &Result<Response<B>, E>) {
        match (answer, self) {
            (Ok(answer), Self::Status(status)) => assert_eq!(answer.status(), status),
            (Err(_), Self::Error) => {}
            (Ok(answer), Self::Error) => panic!("answered {}, not an error", answer.status()),
            (Err(error), Self::Status(_)) => panic!("{error:?}"),
        }
    }
}

/// A tower service as a subject.
pub struct Http<S, R> {
    pub service: S,
    pub expect: Expect,
    pub reset: R,
    queue: Vec<Request<Body>>,
}

impl<S, R> Http<S, R> {
    pub fn boxed<B>(service: S, expect: Expect, reset: R) -> Box<dyn Subject>
    where
        S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>
            + Clone
            + Send
            + 'static,
        R: FnMut() + Clone + Send + 'static,
    {
        Box::new(Self { service, expect, reset, queue: Vec::new() })
    }
}

impl<S, R, B> Subject for Http<S, R>
where
    S: Service<Request<Body>, Response = Response<B>, Error: std::fmt::Debug>
        + Clone
        + Send
        + 'static,
    R: FnMut() + Clone + Send + 'static,
{
    fn fill(&mut self, requests: Vec<Request<Body>>) {
        self.queue = requests;
    }

    fn run(&mut self, meter: &mut Meter<'_>) {
        let requests = std::mem::take(&mut self.queue);
        meter.resume();
        for request in requests {
            let ready = self.service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(ready, Poll::Ready(Ok(()))));
            let answer = meter.finish(self.service.call(request));
            self.expect.check(&answer);
        }
        meter.pause();
    }

    fn reset(&mut self) {
        (self.reset)();
    }
    fn twin(&self) -> Box<dyn Subject> {
        Self::boxed(self.service.clone(), self.expect, self.reset.clone())
    }
}
