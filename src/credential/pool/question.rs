//! One question to a source, in a task of its own.

// Where a model checker asks, there is no task.
#![cfg_attr(all(test, failover_loom), allow(dead_code, unused_imports))]

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
    time::timeout,
};

use super::{feed::Feed, flight::End, slot::Generation, sync::Ordering};
use crate::{
    clock::Now,
    credential::{SourceError, Token, Why},
};

/// Asks the source of a generation's account, whose flight has begun: whoever does may be dropped.
pub(super) fn start(generation: &Arc<Generation>, why: Why, now: u64) {
    let question = Question { generation: Arc::clone(generation), why, ended: false };
    #[cfg(all(test, failover_loom))]
    return question.ask_here(now);
    #[cfg(not(all(test, failover_loom)))]
    if let Ok(runtime) = Handle::try_current() {
        drop(runtime.spawn(question.ask()));
    } else {
        let error = SourceError::transient("no tokio runtime is there to ask the source in");
        question.end(Err(error), now);
    }
}

/// One question to a source. Dropped before its end, it has failed.
struct Question {
    generation: Arc<Generation>,
    why: Why,
    ended: bool,
}

impl Question {
    /// A model has no runtime: the source answers at once, in the thread that asks.
    #[cfg(all(test, failover_loom))]
    fn ask_here(self, now: u64) {
        let generation = Arc::clone(&self.generation);
        let source = &generation.member.asking().and_then(|feed| feed.minting.as_ref());
        let mut asked = source.expect("an account with a source").source.token(self.why);
        let answer = asked.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        let Poll::Ready(answer) = answer else { panic!("the source of a model answers at once") };
        self.end(answer, now);
    }

    async fn ask(self) {
        let member = Arc::clone(&self.generation.member);
        let Some(feed) = member.asking() else { return };
        let _turn = feed.turn.lock().await;
        if self.generation.word().is_closed() {
            let now = member.hub.passed(Now::unread().get());
            return self.overtaken(now);
        }
        let asked =
            timeout(member.hub.settings.sources.refresh_deadline, self.question(feed)).await;
        let late = || Err(SourceError::transient("the source did not answer in time"));
        let outcome = asked.unwrap_or_else(|_| late());
        let now = member.hub.passed(Now::unread().get());
        self.end(outcome, now);
    }

    async fn question(&self, feed: &Feed) -> Result<Token, SourceError> {
        let Some(minting) = &feed.minting else {
            return Err(SourceError::transient("there is no source"));
        };
        let (source, why) = (Arc::clone(&minting.source), self.why);
        // In a task of its own, so that one that panics takes nothing with it.
        let asked = Asked(tokio::spawn(async move { source.token(why).await }));
        asked.await.unwrap_or_else(|_| Err(SourceError::transient("the source panicked")))
    }

    /// Somebody has put another in before the source was asked.
    fn overtaken(mut self, now: u64) {
        if let Some(feed) = self.generation.member.asking() {
            feed.flight().end(End::Overtaken, now, 0.0);
        }
        self.ended = true;
        let hub = &self.generation.member.hub;
        hub.unask(&self.generation.member, now);
        hub.news.send_replace(());
    }

    fn end(mut self, outcome: Result<Token, SourceError>, now: u64) {
        self.settle(outcome, now);
        self.ended = true;
    }

    fn settle(&self, outcome: Result<Token, SourceError>, now: u64) {
        let (generation, hub) = (&self.generation, &self.generation.member.hub);
        let outcome = outcome.and_then(|token| {
            let new = hub.renewed(generation, &token, self.why, now);
            new.map(|new| (new, token)).map_err(|what| SourceError::transient(what.0))
        });
        match outcome {
            Ok((Renewed::Put, _)) => {}
            Ok((Renewed::Same, token)) => hub.same(generation, &token, self.why, now),
            Err(error) => hub.not_renewed(generation, &error, now),
        }
        hub.unask(&generation.member, now);
        hub.news.send_replace(());
        hub.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if !self.ended {
            let now = self.generation.member.hub.passed(Now::unread().get());
            self.settle(Err(SourceError::transient("the task that asked was stopped")), now);
        }
    }
}

/// What became of a token that a source gave.
pub(super) enum Renewed {
    /// It is in use, or somebody has put in another meanwhile.
    Put,
    /// It is there already.
    Same,
}

/// What is wrong with it. It does not show the token.
pub(super) struct Unusable(pub(super) Cow<'static, str>);

/// A task that ends with whoever waits for it.
struct Asked<T>(JoinHandle<T>);

impl<T> Future for Asked<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
