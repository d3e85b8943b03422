//! One question to a source, in a task of its own.
//!
//! Who asks for a token with a secret that is good for one time must not ask again before there is an
//! answer: the second question would look like that of a thief. So at its deadline a question fails
//! for those who wait, and runs on: its late answer counts, and until then its group asks nothing
//! else. It is given up after ten times that, or when the pool has gone.

// Where a model checker asks, there is no task.
#![cfg_attr(all(test, failover_loom), allow(dead_code, unused_imports))]

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    clock::{self, Now},
    credential::{RefreshReason, SourceError, Token, TokenSource},
    pool::{
        account::{End, Generation, Kind},
        shared::Shared,
    },
    sync::Ordering,
};

/// A question is given up after so many times its deadline.
const PATIENCE: u32 = 10;

/// Why a question has failed at its deadline.
const LATE: &str = "the source did not answer in time";
const NO_TURN: &str = "the source of another account of its group did not answer in time";

/// Asks the source of a generation's account, whose flight has begun: whoever does may be dropped.
pub(crate) fn start(generation: &Arc<Generation>, why: RefreshReason, now: u64) {
    let question = RefreshTask { generation: Arc::clone(generation), why, ended: false };
    #[cfg(all(test, failover_loom))]
    return question.ask_here(now);
    #[cfg(not(all(test, failover_loom)))]
    if clock::timer(|| sleep(Duration::ZERO)).is_some() {
        drop(tokio::spawn(question.ask()));
    } else {
        let what = "no tokio runtime with a timer is there to ask the source in";
        question.end(Err(SourceError::transient(what)), now);
    }
}

/// One question to a source. Dropped before its end, it has failed.
struct RefreshTask {
    generation: Arc<Generation>,
    why: RefreshReason,
    ended: bool,
}

impl RefreshTask {
    /// A model has no runtime: the source answers at once, in the thread that asks.
    #[cfg(all(test, failover_loom))]
    fn ask_here(self, now: u64) {
        let generation = Arc::clone(&self.generation);
        let source =
            &generation.account.minting_source().and_then(|source| source.minting.as_ref());
        let mut asked = source.expect("an account with a source").source.token(self.why);
        let answer = asked.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        let Poll::Ready(answer) = answer else { panic!("the source of a model answers at once") };
        self.end(answer, now);
    }

    async fn ask(self) {
        let account = Arc::clone(&self.generation.account);
        let Some(source) = account.minting_source() else { return };
        let deadline = account.shared.settings.sources.refresh_deadline;
        let mut turn = std::pin::pin!(source.turn.lock());
        let _turn = if let Ok(turn) = timeout(deadline, turn.as_mut()).await {
            turn
        } else {
            self.note_late(NO_TURN);
            turn.await
        };
        if self.is_over() || self.generation.state().kind() == Kind::Retired {
            let now = account.shared.passed(Now::unread().get());
            return self.overtaken(now);
        }
        let outcome = match &source.minting {
            Some(minting) => self.answer(&minting.source, deadline).await,
            None => Err(SourceError::transient("there is no source")),
        };
        let now = account.shared.passed(Now::unread().get());
        self.end(outcome, now);
    }

    /// What the source answers, however late.
    async fn answer(
        &self,
        source: &Arc<dyn TokenSource>,
        deadline: Duration,
    ) -> Result<Token, SourceError> {
        let shared = &self.generation.account.shared;
        let retired_unrenewed = Instant::now().checked_add(deadline.saturating_mul(PATIENCE));
        let (source, why) = (Arc::clone(source), self.why);
        // In a task of its own, so that one that panics takes nothing with it.
        let mut asked = SourceCall(tokio::spawn(async move { source.token(why).await }));
        let mut answer = timeout(deadline, &mut asked).await.ok();
        if answer.is_none() {
            self.note_late(LATE);
            answer = shared.late_answer(&mut asked, retired_unrenewed).await;
        }
        let answer = match answer {
            Some(answer) => answer,
            // Nobody of its group is asked before it is gone: one that blocks its thread never is.
            None => asked.stopped().await,
        };
        answer.unwrap_or_else(|failed| {
            let what = if failed.is_cancelled() { LATE } else { "the source panicked" };
            Err(SourceError::transient(what))
        })
    }

    /// Somebody has put in another, or has removed the account, or the pool has gone.
    fn is_over(&self) -> bool {
        let gone = || self.generation.account.shared.closed.load(Ordering::SeqCst);
        self.generation.state().is_closed() || gone()
    }

    /// Nobody is told of it.
    fn end_flight(&self, end: End, now: u64) {
        if let Some(source) = self.generation.account.minting_source() {
            source.flight().end(end, now, 0.0);
        }
    }

    /// Nobody waits for it any longer.
    fn note_late(&self, why: &'static str) {
        let (generation, shared) = (&self.generation, &self.generation.account.shared);
        let now = shared.passed(Now::unread().get());
        if self.is_over() {
            self.end_flight(End::Late, now);
        } else {
            shared.gave_late(generation, &SourceError::transient(why), now);
        }
        self.notify(now);
    }

    /// Nobody needs its answer any more, before the source was asked.
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
        let (generation, shared) = (&self.generation, &self.generation.account.shared);
        let outcome = outcome.and_then(|token| {
            let new = shared.gave_token(generation, &token, self.why, now);
            new.map(|new| (new, token)).map_err(|what| SourceError::transient(what.0))
        });
        match outcome {
            Ok((Renewed::Put, _)) => {}
            // It is about what nobody has any more.
            _ if self.is_over() => self.end_flight(End::Overtaken, now),
            Ok((Renewed::Same, token)) => shared.gave_same(generation, &token, self.why, now),
            Err(error) => shared.gave_none(generation, &error, now),
        }
        self.notify(now);
    }

    fn notify(&self, now: u64) {
        let shared = &self.generation.account.shared;
        shared.clear_asking(&self.generation.account, now);
        shared.changed.send_replace(());
        shared.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for RefreshTask {
    fn drop(&mut self) {
        if !self.ended {
            let now = self.generation.account.shared.passed(Now::unread().get());
            self.settle(Err(SourceError::transient("the task that asked was stopped")), now);
        }
    }
}

impl Shared {
    /// The answer to a question that is late; nothing when the pool has gone, or after `given_up`.
    async fn late_answer<T>(
        &self,
        asked: impl Future<Output = T>,
        retired_unrenewed: Option<Instant>,
    ) -> Option<T> {
        let mut changed = self.changed.subscribe();
        let gone = async {
            while !self.closed.load(Ordering::SeqCst) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let mut gone = std::pin::pin!(gone);
        let mut asked = std::pin::pin!(asked);
        let answer = std::future::poll_fn(|cx| match asked.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => gone.as_mut().poll(cx).map(|()| None),
        });
        match retired_unrenewed {
            Some(retired_unrenewed) => timeout_at(retired_unrenewed, answer).await.ok()?,
            None => answer.await,
        }
    }
}

/// What became of a token that a source gave.
pub(crate) enum Renewed {
    /// It is in use, or somebody has put in another meanwhile.
    Put,
    /// It is there already.
    Same,
}

/// What is wrong with it. It does not show the token.
pub(crate) struct Unusable(pub(crate) Cow<'static, str>);

/// A task that ends with whoever waits for it.
struct SourceCall<T>(JoinHandle<T>);

impl<T> SourceCall<T> {
    /// How it ended, if it could not be stopped.
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
