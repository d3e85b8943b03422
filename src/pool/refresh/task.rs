//! One call to a source, in a task of its own.
//!
//! A refresh token that is valid once must not be sent again before there is an answer: the server
//! would take the second call for a theft. So at its deadline a call fails for the requests that wait,
//! and goes on: a late answer counts, and until then no other call of its group starts. The call is
//! stopped after ten times the deadline, or when the pool is dropped.

// A model checker runs without tasks.
#![cfg_attr(all(test, failover_loom), allow(dead_code, unused_imports))]

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, timeout, timeout_at},
};

use super::answer::{self, Renewed};
use crate::{
    clock::Now,
    credential::{RefreshReason, SourceError, Token, TokenSource},
    pool::{
        account::{End, Generation, Kind},
        shared::Shared,
    },
    sync::Ordering,
};

/// A call is stopped after this many times its deadline.
const PATIENCE: u32 = 10;

/// The errors of a call that missed its deadline.
const LATE: &str = "the source did not answer in time";
const NO_TURN: &str = "the source of another account of its group did not answer in time";

/// Starts the call that [`begin`](crate::pool::account::single_flight::Refresh::begin) allowed. It outlives the
/// request that started it.
pub(crate) fn start(
    shared: &Arc<Shared>,
    generation: &Arc<Generation>,
    why: RefreshReason,
    now: u64,
) {
    let task = RefreshTask {
        shared: Arc::clone(shared),
        generation: Arc::clone(generation),
        why,
        ended: false,
    };
    #[cfg(all(test, failover_loom))]
    return task.call_here(now);
    #[cfg(not(all(test, failover_loom)))]
    if shared.timer.sleep(Duration::ZERO).is_some() {
        drop(tokio::spawn(task.run()));
    } else {
        let what = "no tokio runtime with a timer to call the source in";
        task.end(Err(SourceError::transient(what)), now);
    }
}

/// One call to a source. If it is dropped before its end, the call has failed.
struct RefreshTask {
    shared: Arc<Shared>,
    generation: Arc<Generation>,
    why: RefreshReason,
    ended: bool,
}

impl RefreshTask {
    /// Calls the source in this thread: a model has no runtime, and its source answers at once.
    #[cfg(all(test, failover_loom))]
    fn call_here(self, now: u64) {
        let generation = Arc::clone(&self.generation);
        let source =
            &generation.account.minting_source().and_then(|source| source.minting.as_ref());
        let mut call = source.expect("an account with a source").source.token(self.why);
        let answer = call.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        let Poll::Ready(answer) = answer else { panic!("the source of a model answers at once") };
        self.end(answer, now);
    }

    async fn run(self) {
        let account = Arc::clone(&self.generation.account);
        let Some(source) = account.minting_source() else { return };
        let deadline = self.shared.settings.sources.refresh_deadline;
        let mut turn = std::pin::pin!(source.turn.lock());
        let _turn = if let Ok(turn) = timeout(deadline, turn.as_mut()).await {
            turn
        } else {
            self.note_late(NO_TURN);
            turn.await
        };
        if self.is_over() || self.generation.state().kind() == Kind::Retired {
            let now = self.shared.passed(Now::unread().get());
            return self.overtaken(now);
        }
        let outcome = match &source.minting {
            Some(minting) => self.answer(&minting.source, deadline).await,
            None => Err(SourceError::transient("there is no source")),
        };
        let now = self.shared.passed(Now::unread().get());
        self.end(outcome, now);
    }

    /// Returns the answer of the source, however late.
    async fn answer(
        &self,
        source: &Arc<dyn TokenSource>,
        deadline: Duration,
    ) -> Result<Token, SourceError> {
        let shared = &self.shared;
        let retired_unrenewed = Instant::now().checked_add(deadline.saturating_mul(PATIENCE));
        let (source, why) = (Arc::clone(source), self.why);
        // In a task of its own, so that a panic of the source is caught.
        let mut call = SourceCall(tokio::spawn(async move { source.token(why).await }));
        let mut answer = timeout(deadline, &mut call).await.ok();
        if answer.is_none() {
            self.note_late(LATE);
            answer = late_answer(shared, &mut call, retired_unrenewed).await;
        }
        let answer = match answer {
            Some(answer) => answer,
            // Its group stays locked until the task has ended: one that blocks its thread never ends.
            None => call.stopped().await,
        };
        answer.unwrap_or_else(|failed| {
            let what = if failed.is_cancelled() { LATE } else { "the source panicked" };
            Err(SourceError::transient(what))
        })
    }

    /// Returns whether the credential was replaced, the account removed or the pool dropped.
    fn is_over(&self) -> bool {
        // Ordering 6 of `Shared`: pairs with the store in `shut_down`.
        let gone = || self.shared.closed.load(Ordering::SeqCst);
        self.generation.state().is_closed() || gone()
    }

    /// Ends the call without a report.
    fn end_flight(&self, end: End, now: u64) {
        if let Some(source) = self.generation.account.minting_source() {
            source.flight().end(end, now, 0.0);
        }
    }

    /// Notes that the call has missed its deadline.
    fn note_late(&self, why: &'static str) {
        let (generation, shared) = (&self.generation, &self.shared);
        let now = shared.passed(Now::unread().get());
        if self.is_over() {
            self.end_flight(End::Late, now);
        } else {
            answer::gave_late(shared, generation, &SourceError::transient(why), now);
        }
        self.notify(now);
    }

    /// Ends the call before the source was called, because its answer is no longer needed.
    fn overtaken(mut self, now: u64) {
        self.end_flight(End::Overtaken, now);
        self.ended = true;
        self.notify(now);
    }

    fn end(mut self, outcome: Result<Token, SourceError>, now: u64) {
        self.settle(outcome, now);
        self.ended = true;
    }

    fn settle(&self, outcome: Result<Token, SourceError>, now: u64) {
        let (generation, shared) = (&self.generation, &self.shared);
        let outcome = outcome.and_then(|token| {
            let new = answer::gave_token(shared, generation, &token, self.why, now);
            new.map(|new| (new, token)).map_err(|what| SourceError::transient(what.0))
        });
        match outcome {
            Ok((Renewed::Put, _)) => {}
            // The answer is about a credential that was replaced.
            _ if self.is_over() => self.end_flight(End::Overtaken, now),
            Ok((Renewed::Same, token)) => {
                answer::gave_same(shared, generation, &token, self.why, now);
            }
            Err(error) => answer::gave_none(shared, generation, &error, now),
        }
        self.notify(now);
    }

    fn notify(&self, now: u64) {
        let shared = &self.shared;
        answer::clear_asking(shared, &self.generation.account, now);
        shared.changed.send_replace(());
        // Ordering 3 of `Shared`: pairs with the loads in `unavailable`.
        shared.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        if !self.ended {
            let now = self.shared.passed(Now::unread().get());
            self.settle(Err(SourceError::transient("the task that call was stopped")), now);
        }
    }
}

/// Waits for a late answer. Returns `None` when the pool is dropped, or after the last moment.
async fn late_answer<T>(
    shared: &Shared,
    call: impl Future<Output = T>,
    retired_unrenewed: Option<Instant>,
) -> Option<T> {
    let mut changed = shared.changed.subscribe();
    let gone = async {
        // Ordering 6 of `Shared`: pairs with the store in `shut_down`.
        while !shared.closed.load(Ordering::SeqCst) {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    let mut gone = std::pin::pin!(gone);
    let mut call = std::pin::pin!(call);
    let answer = std::future::poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => gone.as_mut().poll(cx).map(|()| None),
    });
    match retired_unrenewed {
        Some(retired_unrenewed) => timeout_at(retired_unrenewed, answer).await.ok()?,
        None => answer.await,
    }
}

/// A task that is stopped when this is dropped.
struct SourceCall<T>(JoinHandle<T>);

impl<T> SourceCall<T> {
    /// Stops the task. Returns its result if it ended first.
    async fn stopped(self) -> Result<T, JoinError> {
        self.0.abort();
        self.await
    }
}

impl<T> Future for SourceCall<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for SourceCall<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
