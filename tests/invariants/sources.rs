//! The token sources of a world: each plays the script of its account, and all calls are recorded.

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
    upstream::{Double, Who},
    world::token_of,
};

/// The answer of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Give {
    New,
    /// The current token.
    Same,
    /// It is down.
    Down,
    /// A person must act: `invalid_grant`.
    Over,
    Panic,
    /// A token that is not valid in a header.
    Unfit,
    /// It never answers.
    Never,
}

/// The lifetime of a new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Unknown,
    /// This many milliseconds.
    For(u64),
    /// By the local clock it has expired long ago.
    Past,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) give: Give,
    pub(crate) life: Life,
    /// Milliseconds until the answer.
    pub(crate) after: u64,
    /// The seconds until a source that is down wants the next call, or until one that is up wants to
    /// renew its token.
    pub(crate) wait: Option<u64>,
}

/// The origin of an account's tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourcePlan {
    /// Whether the first token is loaded at the start.
    pub(crate) loaded: bool,
    /// The answers to its calls, in order; then it returns new tokens.
    pub(crate) replies: [Reply; 5],
    /// Whether it mints another token after any rejection.
    pub(crate) any_reason: bool,
}

impl SourcePlan {
    pub(crate) fn can_renew_after(&self, reason: Reason) -> bool {
        let usual = matches!(reason, Reason::Expired | Reason::Invalid | Reason::Missing);
        self.any_reason || usual
    }
}

/// An event of a source, in step with the log of the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) seq: usize,
    pub(crate) at: Instant,
    pub(crate) pool: usize,
    pub(crate) account: usize,
    pub(crate) what: Fed,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fed {
    /// It is called.
    Asked(RefreshReason),
    /// The call has ended, with any result.
    Silent,
    /// The pool has received this token, in place of another, with this lifetime.
    Given(u64, u64, Option<Duration>),
    /// The pool has received that a person must act, who may have replaced this token meanwhile.
    Over(u64),
}

/// The record of the sources of a world.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) heard: Vec<Heard>,
    /// For each token of a source, the one that it replaces, and its lifetime.
    lives: BTreeMap<Who, (u64, Option<Duration>)>,
    /// The calls in progress, by the group that serializes them.
    open: BTreeMap<(usize, String), usize>,
    /// The faults.
    pub(crate) wrong: Vec<String>,
    /// All sources work from here on.
    pub(crate) mended: bool,
    /// A person replaces the credential.
    pub(crate) by_hand: bool,
}

/// The source of one account.
pub(crate) struct Scripted {
    pub(crate) pool: usize,
    pub(crate) account: usize,
    pub(crate) group: Option<u8>,
    pub(crate) plan: SourcePlan,
    pub(crate) double: Double,
    pub(crate) asked: AtomicUsize,
}

/// A call in progress.
struct Open<'a>(&'a Scripted);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let key = self.0.turn();
        self.0.double.sources(|log| *log.open.entry(key).or_default() -= 1);
        self.0.heard(Fed::Silent);
    }
}

/// A failure that records its drop: the pool has then received it.
#[derive(Debug)]
struct Told {
    double: Double,
    pool: usize,
    account: usize,
    generation: u64,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid_grant")
    }
}

impl std::error::Error for Told {}

impl Drop for Told {
    fn drop(&mut self) {
        self.double.heard(self.pool, self.account, Fed::Over(self.generation));
    }
}

impl Scripted {
    fn turn(&self) -> (usize, String) {
        let group = self.group.map(|group| format!("group {group}"));
        (self.pool, group.unwrap_or_else(|| format!("account {}", self.account)))
    }

    fn heard(&self, what: Fed) {
        self.double.heard(self.pool, self.account, what);
    }

    async fn answer(&self, why: RefreshReason) -> Result<Token, SourceError> {
        let key = self.turn();
        self.double.sources(|log| {
            let open = log.open.entry(key.clone()).or_default();
            *open += 1;
            if *open > 1 {
                log.wrong.push(format!("{key:?} is asked {open} questions at once"));
            }
        });
        self.heard(Fed::Asked(why));
        let _open = Open(self);
        let (now, loaded) = self.double.generation(self.pool, self.account);
        let at = self.asked.fetch_add(1, Ordering::Relaxed);
        let mended = self.double.sources(|log| log.mended);
        let fine = Reply { give: Give::New, life: Life::Unknown, after: 0, wait: None };
        let reply = self.plan.replies.get(at).copied().filter(|_| !mended).unwrap_or(fine);
        if reply.give == Give::Never {
            std::future::pending::<()>().await;
        }
        if reply.after > 0 {
            sleep(Duration::from_millis(reply.after)).await;
        }
        let wait = reply.wait.map(Duration::from_secs);
        match reply.give {
            Give::New => Ok(self.token(reply, now, now + 1)),
            Give::Same => Ok(self.token(reply, now, if now > 0 || loaded { now } else { 1 })),
            Give::Down => Err(SourceError::transient("it is down").with_retry_after(wait)),
            Give::Over => {
                let (double, pool, account) = (self.double.clone(), self.pool, self.account);
                let told = Told { double, pool, account, generation: now };
                Err(SourceError::terminal(Reason::Invalid, "log in again").with_source(told))
            }
            Give::Panic => std::panic::resume_unwind(Box::new("a bad source")),
            Give::Unfit => Ok(Token::new("no token\nat all")),
            Give::Never => Err(SourceError::transient("it never answers")),
        }
    }

    fn token(&self, reply: Reply, now: u64, generation: u64) -> Token {
        let token = Token::new(token_of(self.pool, self.account, generation));
        let token = match reply.wait.filter(|wait| *wait > 0) {
            Some(wait) => token.refresh_in(Duration::from_secs(wait)),
            None => token,
        };
        let who = Who { pool: self.pool, account: self.account, generation };
        let life = match reply.life {
            Life::For(life) if generation > now => Some(Duration::from_millis(life)),
            _ => None,
        };
        self.double.sources(|log| log.lives.insert(who, (now, life)));
        match (reply.life, life) {
            (_, Some(life)) => token.expires_in(life),
            (Life::Past, None) => {
                token.expires(Expires::At(UNIX_EPOCH + Duration::from_secs(1_000)))
            }
            (Life::Unknown | Life::For(_), None) => token,
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

impl Double {
    /// The pool has received a token of a source.
    pub(crate) fn given(&self, who: Who) {
        let made = self.sources(|log| log.lives.get(&who).copied().filter(|_| !log.by_hand));
        if let Some((old, life)) = made {
            self.heard(who.pool, who.account, Fed::Given(who.generation, old, life));
        }
    }
}

// === strategies ===

fn reply() -> impl Strategy<Value = Reply> {
    let give = prop_oneof![
        6 => Just(Give::New),
        2 => Just(Give::Same),
        3 => Just(Give::Down),
        1 => Just(Give::Over),
        1 => Just(Give::Panic),
        1 => Just(Give::Unfit),
        1 => Just(Give::Never),
    ];
    let after =
        proptest::sample::select(vec![0, 0, 0, 1, 10, 150, 700, 6_000, 12_000, 40_000, 110_000]);
    let wait = proptest::sample::select(vec![None, None, None, Some(1), Some(30), Some(100_000)]);
    (give, life(), after, wait).prop_map(|(give, life, after, wait)| Reply {
        give,
        life,
        after,
        wait,
    })
}

fn life() -> impl Strategy<Value = Life> {
    let spans = vec![300, 2_000, 8_000, 100_000, 4_000_000];
    prop_oneof![
        4 => Just(Life::Unknown),
        4 => proptest::sample::select(spans).prop_map(Life::For),
        1 => Just(Life::Past),
    ]
}

pub(crate) fn source() -> impl Strategy<Value = SourcePlan> {
    let replies = [reply(), reply(), reply(), reply(), reply()];
    (proptest::bool::weighted(0.7), replies, proptest::bool::weighted(0.2))
        .prop_map(|(loaded, replies, any_reason)| SourcePlan { loaded, replies, any_reason })
        // Without optimisation five replies of each account, by value, are too much for a stack.
        .boxed()
}

/// The expiry of an account's first token, in milliseconds.
pub(crate) fn end() -> impl Strategy<Value = Option<u64>> {
    proptest::sample::select(vec![None, None, None, Some(300), Some(8_000), Some(1_000_000)])
}
