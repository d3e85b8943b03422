//! The token sources of a world: each plays the script of its account, and the log records all
//! steps.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower_failover::{
    Reason,
    credential::{Expires, RefreshReason, SourceError, Token, TokenFuture, TokenSource},
};

use super::{
    upstream::{CredentialId, TestUpstream},
    world::token_of,
};

/// The kind of a source's reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    New,
    /// The current token again.
    Same,
    /// The source is unavailable.
    Down,
    /// A terminal failure such as `invalid_grant`.
    Terminal,
    Panic,
    /// A token that does not fit in a header.
    Unfit,
    /// The source never answers.
    Never,
}

/// The lifetime of a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Unknown,
    /// A number of milliseconds.
    For(u64),
    /// The token has expired long ago by the local clock.
    Past,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: ReplyKind,
    pub(crate) lifetime: Lifetime,
    /// Milliseconds until the answer.
    pub(crate) after: u64,
    /// The retry delay of an unavailable source, or the refresh delay of a new token, in seconds.
    pub(crate) wait: Option<u64>,
}

/// The plan of an account's token source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourcePlan {
    /// The first token is loaded from the start.
    pub(crate) loaded: bool,
    /// Its replies call by call; later calls return new tokens.
    pub(crate) replies: [Reply; 5],
    /// It can renew a token after a rejection for any reason.
    pub(crate) any_reason: bool,
}

impl SourcePlan {
    pub(crate) fn can_renew_after(&self, reason: Reason) -> bool {
        let usual = matches!(reason, Reason::Expired | Reason::Invalid | Reason::Missing);
        self.any_reason || usual
    }
}

/// An event of a source, numbered like the upstream's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceEvent {
    pub(crate) seq: usize,
    pub(crate) at: Instant,
    pub(crate) pool: usize,
    pub(crate) account: usize,
    pub(crate) step: SourceStep,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum SourceStep {
    /// The source was called.
    Called(RefreshReason),
    /// The call ended, with any result.
    Ended,
    /// The pool received this generation in place of another, with this lifetime.
    Received(u64, u64, Option<Duration>),
    /// The pool handled a terminal failure of this generation, which an operator may have replaced
    /// meanwhile.
    Terminal(u64),
}

/// The log of the sources of a world.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: Vec<SourceEvent>,
    /// For each token of a source, the generation that it replaces and its lifetime.
    tokens_change: BTreeMap<CredentialId, (u64, Option<Duration>)>,
    /// The open calls, by the account or group whose calls are serialised.
    open: BTreeMap<(usize, String), usize>,
    /// Violations found so far.
    pub(crate) wrong: Vec<String>,
    /// From now on all sources return new tokens.
    pub(crate) repaired: bool,
    /// An operator is changing a credential.
    pub(crate) by_hand: bool,
}

/// The source of one account.
pub(crate) struct Scripted {
    pub(crate) pool: usize,
    pub(crate) account: usize,
    pub(crate) group: Option<u8>,
    pub(crate) plan: SourcePlan,
    pub(crate) upstream: TestUpstream,
    pub(crate) calls: AtomicUsize,
}

/// An open call.
struct OpenCall<'a>(&'a Scripted);

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        let key = self.0.turn();
        self.0.upstream.sources(|log| *log.open.entry(key).or_default() -= 1);
        self.0.record_event(SourceStep::Ended);
    }
}

/// An error that records when the pool has handled the failure and drops it.
#[derive(Debug)]
struct TerminalFailure {
    upstream: TestUpstream,
    pool: usize,
    account: usize,
    generation: u64,
}

impl std::fmt::Display for TerminalFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid_grant")
    }
}

impl std::error::Error for TerminalFailure {}

impl Drop for TerminalFailure {
    fn drop(&mut self) {
        self.upstream.record_event(self.pool, self.account, SourceStep::Terminal(self.generation));
    }
}

impl Scripted {
    fn turn(&self) -> (usize, String) {
        let group = self.group.map(|group| format!("group {group}"));
        (self.pool, group.unwrap_or_else(|| format!("account {}", self.account)))
    }

    fn record_event(&self, step: SourceStep) {
        self.upstream.record_event(self.pool, self.account, step);
    }

    async fn answer(&self, why: RefreshReason) -> Result<Token, SourceError> {
        let key = self.turn();
        self.upstream.sources(|log| {
            let open = log.open.entry(key.clone()).or_default();
            *open += 1;
            if *open > 1 {
                log.wrong.push(format!("{key:?} has {open} calls at once"));
            }
        });
        self.record_event(SourceStep::Called(why));
        let _open = OpenCall(self);
        let (now, loaded) = self.upstream.generation(self.pool, self.account);
        let at = self.calls.fetch_add(1, Ordering::Relaxed);
        let repaired = self.upstream.sources(|log| log.repaired);
        let fine =
            Reply { kind: ReplyKind::New, lifetime: Lifetime::Unknown, after: 0, wait: None };
        let reply = self.plan.replies.get(at).copied().filter(|_| !repaired).unwrap_or(fine);
        if reply.kind == ReplyKind::Never {
            std::future::pending::<()>().await;
        }
        if reply.after > 0 {
            sleep(Duration::from_millis(reply.after)).await;
        }
        let wait = reply.wait.map(Duration::from_secs);
        match reply.kind {
            ReplyKind::New => Ok(self.token(reply, now, now + 1)),
            ReplyKind::Same => Ok(self.token(reply, now, if now > 0 || loaded { now } else { 1 })),
            ReplyKind::Down => Err(SourceError::transient("it is down").with_retry_after(wait)),
            ReplyKind::Terminal => {
                let (upstream, pool, account) = (self.upstream.clone(), self.pool, self.account);
                let failure = TerminalFailure { upstream, pool, account, generation: now };
                Err(SourceError::terminal(Reason::Invalid, "log in again").with_source(failure))
            }
            ReplyKind::Panic => std::panic::resume_unwind(Box::new("a bad source")),
            ReplyKind::Unfit => Ok(Token::new("no token\nat all")),
            ReplyKind::Never => Err(SourceError::transient("it never answers")),
        }
    }

    fn token(&self, reply: Reply, now: u64, generation: u64) -> Token {
        let token = Token::new(token_of(self.pool, self.account, generation));
        let token = match reply.wait.filter(|wait| *wait > 0) {
            Some(wait) => token.refresh_in(Duration::from_secs(wait)),
            None => token,
        };
        let credential = CredentialId { pool: self.pool, account: self.account, generation };
        let lifetime = match reply.lifetime {
            Lifetime::For(lifetime) if generation > now => Some(Duration::from_millis(lifetime)),
            _ => None,
        };
        self.upstream.sources(|log| log.tokens_change.insert(credential, (now, lifetime)));
        match (reply.lifetime, lifetime) {
            (_, Some(lifetime)) => token.expires_in(lifetime),
            (Lifetime::Past, None) => {
                token.expires(Expires::At(UNIX_EPOCH + Duration::from_secs(1_000)))
            }
            (Lifetime::Unknown | Lifetime::For(_), None) => token,
        }
    }
}

impl TokenSource for Scripted {
    fn token(&self, why: RefreshReason) -> TokenFuture<'_> {
        Box::pin(self.answer(why))
    }

    fn can_renew_after(&self, reason: Reason) -> bool {
        self.plan.can_renew_after(reason)
    }
}

impl TestUpstream {
    /// Records that the pool received a token from a source.
    pub(crate) fn received(&self, credential: CredentialId) {
        let made = self
            .sources(|log| log.tokens_change.get(&credential).copied().filter(|_| !log.by_hand));
        if let Some((old, lifetime)) = made {
            self.record_event(
                credential.pool,
                credential.account,
                SourceStep::Received(credential.generation, old, lifetime),
            );
        }
    }
}

// === strategies ===

fn reply() -> impl Strategy<Value = Reply> {
    let kind = prop_oneof![
        6 => Just(ReplyKind::New),
        2 => Just(ReplyKind::Same),
        3 => Just(ReplyKind::Down),
        1 => Just(ReplyKind::Terminal),
        1 => Just(ReplyKind::Panic),
        1 => Just(ReplyKind::Unfit),
        1 => Just(ReplyKind::Never),
    ];
    let after =
        proptest::sample::select(vec![0, 0, 0, 1, 10, 150, 700, 6_000, 12_000, 40_000, 110_000]);
    let wait = proptest::sample::select(vec![None, None, None, Some(1), Some(30), Some(100_000)]);
    (kind, lifetime(), after, wait).prop_map(|(kind, lifetime, after, wait)| Reply {
        kind,
        lifetime,
        after,
        wait,
    })
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let spans = vec![300, 2_000, 8_000, 100_000, 4_000_000];
    prop_oneof![
        4 => Just(Lifetime::Unknown),
        4 => proptest::sample::select(spans).prop_map(Lifetime::For),
        1 => Just(Lifetime::Past),
    ]
}

pub(crate) fn source() -> impl Strategy<Value = SourcePlan> {
    let replies = [reply(), reply(), reply(), reply(), reply()];
    (proptest::bool::weighted(0.7), replies, proptest::bool::weighted(0.2))
        .prop_map(|(loaded, replies, any_reason)| SourcePlan { loaded, replies, any_reason })
        // Without optimisation, five replies per account by value overflow the stack.
        .boxed()
}

/// Generates the milliseconds until an account's first token expires.
pub(crate) fn end() -> impl Strategy<Value = Option<u64>> {
    proptest::sample::select(vec![None, None, None, Some(300), Some(8_000), Some(1_000_000)])
}
