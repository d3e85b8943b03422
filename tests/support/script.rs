//! A scripted token source.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tower_failover::{
    Credential,
    credential::{RefreshReason, SourceError, Token, TokenFuture, TokenSource},
};

pub(crate) type Answer = Result<Token, SourceError>;

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns a wall clock time; the wall clock is not paused.
#[allow(clippy::disallowed_methods)]
pub(crate) fn in_seconds(after: u64) -> SystemTime {
    SystemTime::now() + seconds(after)
}

pub(crate) fn bearer(token: &str) -> Credential {
    Credential::bearer(token).unwrap()
}

/// A source that answers after a number of seconds and records the reason of each call; calls after
/// the last answer hang.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<(u64, Answer)>>>,
    reasons: Arc<Mutex<Vec<RefreshReason>>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = (u64, Answer)>) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            reasons: Arc::default(),
        }
    }

    /// Builds a source that takes a second for each answer.
    pub(crate) fn each(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::new(answers.into_iter().map(|answer| (1, answer)))
    }

    /// Builds a source that takes a second for each answer.
    pub(crate) fn tokens(tokens: &[&str]) -> Self {
        Self::each(tokens.iter().map(|token| Ok(Token::new(*token))))
    }

    pub(crate) fn reasons(&self) -> Vec<RefreshReason> {
        self.reasons.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.reasons().len()
    }
}

impl TokenSource for Script {
    fn token(&self, why: RefreshReason) -> TokenFuture<'_> {
        self.reasons.lock().unwrap().push(why);
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            match answer {
                Some((after, answer)) => {
                    sleep(seconds(after)).await;
                    answer
                }
                None => std::future::pending().await,
            }
        })
    }
}
