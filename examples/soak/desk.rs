//! The state of the tokens on the server, and its answers.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::{sync::watch, time::Instant};

use super::token::{Key, number};

/// The state of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// It is accepted, and always was.
    Good,
    /// It is rejected until this time.
    Back(Instant),
    /// It is rejected permanently.
    Invalid,
    /// It is rejected permanently, and the answer says that it was revoked.
    Revoked,
}

/// An answer to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 closes the connection without an answer.
    pub(crate) status: u16,
    /// Whether a 401 says that the token was revoked.
    pub(crate) revoked: bool,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after: Option<u16>,
    /// Whether the body is cut in the middle.
    pub(crate) cut: bool,
}

/// See the [module](self).
pub(crate) struct Desk {
    books: Mutex<Books>,
    /// No answer is sent before this is true.
    pub(crate) open: watch::Sender<bool>,
    /// Whether only tokens are at fault.
    pub(crate) calm: AtomicBool,
}

#[derive(Default)]
struct Books {
    seed: u64,
    tokens: HashMap<Key, Token>,
    /// The end of an account's limit, and whether the answers name it.
    limited: HashMap<usize, (Instant, bool)>,
    /// The number of arrivals of a request.
    arrivals: HashMap<u64, u64>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (books, open, calm) =
            (Mutex::default(), watch::Sender::new(false), AtomicBool::new(true));
        Self { books, open, calm }
    }

    /// Begins a new round: no answer is sent before the desk is opened.
    pub(crate) fn begin(&self, seed: u64) {
        let mut books = self.books();
        (books.seed, books.arrivals) = (seed, HashMap::new());
        self.open.send_replace(false);
        self.calm.store(false, Ordering::SeqCst);
    }

    /// Ends all faults but rejected tokens, and all limits.
    pub(crate) fn calm_down(&self) {
        self.books().limited.clear();
        self.calm.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, key: Key, token: Token) {
        self.books().tokens.insert(key, token);
    }

    /// Returns the state of a token, if it exists.
    pub(crate) fn get(&self, key: Key) -> Option<Token> {
        self.books().tokens.get(&key).copied()
    }

    /// Limits an account; with `hint`, the answers name the delay.
    pub(crate) fn limit(&self, account: usize, time: Duration, hint: bool) {
        self.books().limited.insert(account, (Instant::now() + time, hint));
    }

    /// Returns the duration of the work on a request, at most `slowest`, and a random number for it.
    pub(crate) fn receive(
        &self,
        headers: &HeaderMap,
        slowest: Duration,
    ) -> (Duration, fastrand::Rng) {
        let id = number(headers).unwrap_or(u64::MAX);
        let mut books = self.books();
        let arrivals = books.arrivals.entry(id).or_default();
        *arrivals += 1;
        let turn = *arrivals;
        // The same seed gives the same result for each request, in any order of arrival.
        let seed = books.seed.wrapping_mul(0x9E37_79B9) ^ (id << 8) ^ turn;
        let mut dice = fastrand::Rng::with_seed(seed);
        // Resent requests are served sooner, so that there is time for many of them.
        let slowest = if turn > 1 { slowest / 4 } else { slowest };
        (slowest.mul_f64(dice.f64()), dice)
    }

    /// Returns the answer at the end of the work.
    pub(crate) fn decide(&self, headers: &HeaderMap, dice: &mut fastrand::Rng) -> Answer {
        let now = Instant::now();
        let books = self.books();
        let key = Key::of(headers);
        let token = key.and_then(|key| books.tokens.get(&key)).copied();
        let cut = !self.calm.load(Ordering::SeqCst) && dice.u8(..) < 24;
        let answer = |status| Answer { status, revoked: false, retry_after: None, cut };
        match token {
            Some(Token::Good) => {}
            Some(Token::Back(at)) if at <= now => {}
            Some(Token::Revoked) => return Answer { revoked: true, ..answer(401) },
            Some(Token::Back(_) | Token::Invalid) | None => return answer(401),
        }
        let limited = key.and_then(|key| books.limited.get(&key.account));
        match limited {
            Some((until, hint)) if *until > now => {
                return Answer { retry_after: hint.then_some(1), ..answer(429) };
            }
            _ if self.calm.load(Ordering::SeqCst) => return answer(200),
            _ => {}
        }
        match dice.u16(..1000) {
            0..30 => answer(503),
            30..50 => answer(529),
            50..60 => answer(500),
            60..70 => answer(400),
            70..80 => answer(403),
            80..95 => answer(0),
            _ => Answer { cut: dice.u8(..) < 5, ..answer(200) },
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
