//! What was sent and what was told, and what is promised of it.
//!
//! How it is known that a send began after a refusal was recorded: one clock counts the polls of
//! requests and the incidents. The pool tells of an incident when it has recorded the refusal. A
//! send within a poll that began later was decided upon with that record in sight. One within a
//! poll that began earlier may have been decided upon before: it is in flight, and allowed.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tower_failover::{
    Event, Verdict,
    report::{AccountOut, OutReason, RequestRecord},
};

use super::{ask::Ended, token::Key};

/// How many broken promises are told word for word.
const FAULTS: usize = 20;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Book {
    clock: AtomicU64,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    tokens: HashMap<Key, Token>,
    requests: HashMap<u64, Asked>,
    sends: HashMap<usize, u64>,
    sums: Sums,
    faults: Vec<String>,
}

/// What a round comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Failed requests that were told of.
    pub(crate) reports: u64,
    /// Tokens that were told to be out.
    pub(crate) incidents: u64,
    pub(crate) sends: u64,
    pub(crate) sends_after_refusal: u64,
    /// Answers that refused a token.
    pub(crate) refused: u64,
    /// Sends of a refused token when its time was up, and those that showed it to be good.
    pub(crate) probes: u64,
    pub(crate) healed: u64,
    /// Dropped requests that were told of.
    pub(crate) abandoned: u64,
    pub(crate) recovered: u64,
}

/// What is known of one generation of a token.
#[derive(Default)]
struct Token {
    /// When the first answer came that refused it.
    refused: Option<Instant>,
    told: Option<Told>,
    /// A probe is out.
    probing: bool,
    /// A probe came back well.
    healed: bool,
    /// A trail has an attempt that was refused with it.
    in_trail: bool,
}

/// An incident.
struct Told {
    at: u64,
    rest: Duration,
}

/// What is known of one request.
#[derive(Default)]
struct Asked {
    sends: usize,
    refused: Vec<Key>,
    failed: u64,
    abandoned: u64,
    recovered: u64,
}

/// A send that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    request: u64,
    key: Key,
    probe: bool,
}

impl Book {
    /// A new round. What is known of the tokens stays.
    pub(crate) fn begin(&self) {
        let mut pages = self.pages();
        (pages.requests, pages.sums) = (HashMap::new(), Sums::default());
        pages.faults = Vec::new();
    }

    /// The next moment of the clock.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A request is sent with a token, within a poll that began at `poll`.
    pub(crate) fn sent(&self, request: u64, key: Key, poll: u64) -> Send {
        let now = Instant::now();
        let pages = &mut *self.pages();
        *pages.sends.entry(key.account).or_default() += 1;
        pages.sums.sends += 1;
        let asked = pages.requests.entry(request).or_default();
        asked.sends += 1;
        let token = pages.tokens.entry(key).or_default();
        let known = token.told.as_ref().filter(|told| told.at < poll && !token.healed);
        let due = known.is_some_and(|told| token.is_due(told.rest, now));
        let probe = due && !token.probing;
        if asked.refused.contains(&key) {
            pages.sums.sends_after_refusal += 1;
            pages.fault(format!("request {request} was sent again with {key:?} after its refusal"));
        } else if known.is_some() && !probe {
            pages.sums.sends_after_refusal += 1;
            pages.fault(format!("request {request} was sent with {key:?} after its incident"));
        } else if probe {
            token.probing = true;
            pages.sums.probes += 1;
        }
        Send { request, key, probe }
    }

    /// The send has ended: with an answer, or without one.
    pub(crate) fn ended(&self, send: Send, status: Option<u16>) {
        let now = Instant::now();
        let pages = &mut *self.pages();
        let token = pages.tokens.entry(send.key).or_default();
        if status == Some(401) {
            token.refused.get_or_insert(now);
            pages.sums.refused += 1;
            pages.requests.entry(send.request).or_default().refused.push(send.key);
        }
        if send.probe {
            token.probing = false;
            // What shows a credential to be good, though the request may have failed.
            token.healed = matches!(status, Some(200..400 | 403 | 429 | 529));
            pages.sums.healed += u64::from(token.healed);
        }
    }

    /// The crate tells of something. To be called inline, as a reporter is.
    pub(crate) fn told(&self, event: &Event) {
        let pages = &mut *self.pages();
        match event {
            Event::AccountOut(out) => pages.incident(out, || self.tick()),
            Event::PoolDead(dead) => pages.incident(&dead.cause, || self.tick()),
            Event::RequestFailed(record) => {
                pages.sums.reports += 1;
                pages.record(record, |asked| (&mut asked.failed, 0));
            }
            Event::RequestAbandoned(record) => {
                pages.sums.abandoned += 1;
                pages.record(record, |asked| (&mut asked.abandoned, 1));
            }
            Event::RequestRecovered(record) => {
                pages.sums.recovered += 1;
                pages.record(record, |asked| (&mut asked.recovered, 1));
            }
            _ => pages.fault(format!("nobody asked to be told: {event}")),
        }
    }

    /// Every request is over; `generations` are those that serve now. What was not as promised is
    /// left in the faults.
    pub(crate) fn close(&self, ended: &[(u64, Ended)], generations: &[u64]) -> (Sums, Vec<String>) {
        let pages = &mut *self.pages();
        for (request, ended) in ended {
            let asked = pages.requests.remove(request).unwrap_or_default();
            if let Some(fault) = asked.fault(*ended) {
                pages.fault(format!("request {request} ended {ended:?}, and {fault}"));
            }
        }
        let strangers: Vec<_> = pages.requests.keys().copied().collect();
        for request in strangers {
            pages.fault(format!("nobody asked for request {request}"));
        }
        for (account, generation) in generations.iter().enumerate() {
            let key = Key { account, generation: *generation };
            let silent = |token: &Token| token.in_trail && token.told.is_none();
            if pages.tokens.get(&key).is_some_and(silent) {
                pages.fault(format!("{key:?} was refused, and nobody was told"));
            }
        }
        // Those before can be used no more.
        pages.tokens.retain(|key, _| generations.get(key.account) == Some(&key.generation));
        (pages.sums.clone(), std::mem::take(&mut pages.faults))
    }

    /// How many sends each account has made since the beginning.
    pub(crate) fn sends(&self, account: usize) -> u64 {
        self.pages().sends.get(&account).copied().unwrap_or_default()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// Whether its time is up. It was refused for the first time at or before the moment from which
    /// the pool counts, and the pool counts whole milliseconds.
    fn is_due(&self, rest: Duration, now: Instant) -> bool {
        let passed = self.refused.map(|refused| now.saturating_duration_since(refused));
        passed.is_some_and(|passed| passed + Duration::from_millis(1) >= rest)
    }
}

impl Pages {
    fn incident(&mut self, out: &AccountOut, tick: impl FnOnce() -> u64) {
        let Some(key) = Key::at(&out.account.id, out.generation) else {
            return self.fault(format!("an incident of a stranger: {out:?}"));
        };
        self.sums.incidents += 1;
        let token = self.tokens.entry(key).or_default();
        let again = token.told.is_some();
        let for_nothing = token.refused.is_none() || out.reason == OutReason::OutOfQuota;
        // The lock is held: a send that has seen a later moment finds this here.
        token.told = Some(Told { at: tick(), rest: out.out_for });
        if again {
            self.fault(format!("{key:?} was told to be out twice"));
        }
        if for_nothing {
            self.fault(format!("{key:?} was told to be out, and nobody had refused it"));
        }
    }

    fn record(
        &mut self,
        record: &RequestRecord,
        count: impl FnOnce(&mut Asked) -> (&mut u64, usize),
    ) {
        for attempt in &record.trail {
            if let (Verdict::Unauthorized(_), Some(id), Some(generation)) =
                (attempt.verdict, &attempt.account, attempt.generation)
            {
                if let Some(key) = Key::at(id, generation) {
                    self.tokens.entry(key).or_default().in_trail = true;
                }
            }
        }
        let Some(request) = record.request_id.as_ref().and_then(|id| id.parse().ok()) else {
            return self.fault(format!("a report without a number: {record:?}"));
        };
        let asked = self.requests.entry(request).or_default();
        let sends = asked.sends;
        let (told, last) = count(asked);
        *told += 1;
        // The last send of a request that did not fail may not have failed.
        let lines = record.trail.len();
        if lines > sends || lines + last < sends {
            self.fault(format!("request {request} made {sends} sends, and told of {lines}"));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(fault);
        }
    }
}

impl Asked {
    /// What is wrong with what was told of it.
    fn fault(&self, ended: Ended) -> Option<String> {
        let Self { sends, failed, abandoned, recovered, .. } = *self;
        let right = match ended {
            Ended::Failed => (failed, abandoned, recovered) == (1, 0, 0),
            Ended::Ok | Ended::Cut if sends > 1 => (failed, abandoned, recovered) == (0, 0, 1),
            // Of more than one send, the first has failed.
            Ended::Dropped if sends > 1 => (failed, abandoned, recovered) == (0, 1, 0),
            Ended::Dropped if sends == 1 => failed + recovered == 0 && abandoned <= 1,
            Ended::Ok | Ended::Cut | Ended::Dropped => failed + abandoned + recovered == 0,
            // A request that is still under way has nothing to tell, and counts as hung.
            Ended::Hung => failed + recovered == 0,
        };
        let told = || {
            format!(
                "was told {failed} times as failed, {abandoned} as abandoned, {recovered} as recovered, after {sends} sends"
            )
        };
        (!right).then(told)
    }
}
