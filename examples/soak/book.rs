//! The record of sends and events, and the guarantees that are checked on it.
//!
//! To find sends that began after a rejection was recorded, one clock counts the polls of requests
//! and the incidents. The pool reports an incident after it has recorded the rejection. A send in a
//! poll that began later was decided after the record. A send in a poll that began earlier may have
//! been decided before: it is in flight, and allowed.

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

/// The number of faults that are kept as text.
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
    requests: HashMap<u64, Requested>,
    sends: HashMap<usize, u64>,
    sums: Sums,
    faults: Vec<String>,
}

/// The sums of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Reported failed requests.
    pub(crate) reports: u64,
    /// Tokens that were reported to be out.
    pub(crate) incidents: u64,
    pub(crate) sends: u64,
    pub(crate) sends_after_refusal: u64,
    /// Answers that rejected a token.
    pub(crate) rejected: u64,
    /// Probes of a rejected token, and those that succeeded.
    pub(crate) probes: u64,
    pub(crate) healed: u64,
    /// Reported dropped requests.
    pub(crate) abandoned: u64,
    pub(crate) recovered: u64,
}

/// The record of one generation of a token.
#[derive(Default)]
struct Token {
    /// The time of the first answer that rejected it.
    rejected: Option<Instant>,
    incident: Option<Incident>,
    /// Whether a probe is in flight.
    probing: bool,
    /// Whether a probe succeeded.
    healed: bool,
    /// Whether a trail has an attempt that was rejected with it.
    in_trail: bool,
}

/// An incident.
struct Incident {
    at: u64,
    rest: Duration,
}

/// The record of one request.
#[derive(Default)]
struct Requested {
    sends: usize,
    rejected: Vec<Key>,
    failed: u64,
    abandoned: u64,
    recovered: u64,
}

/// A send in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    request: u64,
    key: Key,
    probe: bool,
}

impl Book {
    /// Begins a new round. The record of the tokens stays.
    pub(crate) fn begin(&self) {
        let mut pages = self.pages();
        (pages.requests, pages.sums) = (HashMap::new(), Sums::default());
        pages.faults = Vec::new();
    }

    /// Advances the clock, and returns the time.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Records a send of a request with a token, in a poll that began at `poll`.
    pub(crate) fn sent(&self, request: u64, key: Key, poll: u64) -> Send {
        let now = Instant::now();
        let pages = &mut *self.pages();
        *pages.sends.entry(key.account).or_default() += 1;
        pages.sums.sends += 1;
        let requested = pages.requests.entry(request).or_default();
        requested.sends += 1;
        let token = pages.tokens.entry(key).or_default();
        let known = token.incident.as_ref().filter(|incident| incident.at < poll && !token.healed);
        let due = known.is_some_and(|incident| token.is_due(incident.rest, now));
        let probe = due && !token.probing;
        if requested.rejected.contains(&key) {
            pages.sums.sends_after_refusal += 1;
            pages.fault(format!(
                "request {request} was sent again with {key:?} after its rejection"
            ));
        } else if known.is_some() && !probe {
            pages.sums.sends_after_refusal += 1;
            pages.fault(format!("request {request} was sent with {key:?} after its incident"));
        } else if probe {
            token.probing = true;
            pages.sums.probes += 1;
        }
        Send { request, key, probe }
    }

    /// Records the end of a send, with an answer or without one.
    pub(crate) fn ended(&self, send: Send, status: Option<u16>) {
        let now = Instant::now();
        let pages = &mut *self.pages();
        let token = pages.tokens.entry(send.key).or_default();
        if status == Some(401) {
            token.rejected.get_or_insert(now);
            pages.sums.rejected += 1;
            pages.requests.entry(send.request).or_default().rejected.push(send.key);
        }
        if send.probe {
            token.probing = false;
            // These statuses prove the credential, although the request may have failed.
            token.healed = matches!(status, Some(200..400 | 403 | 429 | 529));
            pages.sums.healed += u64::from(token.healed);
        }
    }

    /// Records an event. It must be called inline, as a reporter is.
    pub(crate) fn event(&self, event: &Event) {
        let pages = &mut *self.pages();
        match event {
            Event::AccountOut(out) => pages.incident(out, || self.tick()),
            Event::PoolDead(dead) => pages.incident(&dead.cause, || self.tick()),
            Event::RequestFailed(record) => {
                pages.sums.reports += 1;
                pages.record(record, |requested| (&mut requested.failed, 0));
            }
            Event::RequestAbandoned(record) => {
                pages.sums.abandoned += 1;
                pages.record(record, |requested| (&mut requested.abandoned, 1));
            }
            Event::RequestRecovered(record) => {
                pages.sums.recovered += 1;
                pages.record(record, |requested| (&mut requested.recovered, 1));
            }
            _ => pages.fault(format!("unexpected event: {event}")),
        }
    }

    /// Ends the round after every request has ended; `generations` are the current ones. Returns the
    /// sums and the faults.
    pub(crate) fn close(&self, ended: &[(u64, Ended)], generations: &[u64]) -> (Sums, Vec<String>) {
        let pages = &mut *self.pages();
        for (request, ended) in ended {
            let requested = pages.requests.remove(request).unwrap_or_default();
            if let Some(fault) = requested.fault(*ended) {
                pages.fault(format!("request {request} ended {ended:?}, and {fault}"));
            }
        }
        let strangers: Vec<_> = pages.requests.keys().copied().collect();
        for request in strangers {
            pages.fault(format!("request {request} was never sent"));
        }
        for (account, generation) in generations.iter().enumerate() {
            let key = Key { account, generation: *generation };
            let silent = |token: &Token| token.in_trail && token.incident.is_none();
            if pages.tokens.get(&key).is_some_and(silent) {
                pages.fault(format!("{key:?} was rejected, and not reported"));
            }
        }
        // Earlier generations can no longer be used.
        pages.tokens.retain(|key, _| generations.get(key.account) == Some(&key.generation));
        (pages.sums.clone(), std::mem::take(&mut pages.faults))
    }

    /// Returns the number of sends of an account since the beginning.
    pub(crate) fn sends(&self, account: usize) -> u64 {
        self.pages().sends.get(&account).copied().unwrap_or_default()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    /// Returns whether a probe is due. The first rejection came at or before the time from which the
    /// pool counts, and the pool counts whole milliseconds.
    fn is_due(&self, rest: Duration, now: Instant) -> bool {
        let passed = self.rejected.map(|rejected| now.saturating_duration_since(rejected));
        passed.is_some_and(|passed| passed + Duration::from_millis(1) >= rest)
    }
}

impl Pages {
    fn incident(&mut self, out: &AccountOut, tick: impl FnOnce() -> u64) {
        let Some(key) = Key::at(&out.account.id, out.generation) else {
            return self.fault(format!("an incident of an unknown account: {out:?}"));
        };
        self.sums.incidents += 1;
        let token = self.tokens.entry(key).or_default();
        let again = token.incident.is_some();
        let for_nothing = token.rejected.is_none() || out.reason == OutReason::OutOfQuota;
        // The lock is held: a send with a later time finds this record.
        token.incident = Some(Incident { at: tick(), rest: out.out_for });
        if again {
            self.fault(format!("{key:?} was reported to be out twice"));
        }
        if for_nothing {
            self.fault(format!("{key:?} was reported to be out, and had not been rejected"));
        }
    }

    fn record(
        &mut self,
        record: &RequestRecord,
        count: impl FnOnce(&mut Requested) -> (&mut u64, usize),
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
        let requested = self.requests.entry(request).or_default();
        let sends = requested.sends;
        let (reported, last) = count(requested);
        *reported += 1;
        // The last send of a request that did not fail has no line.
        let lines = record.trail.len();
        if lines > sends || lines + last < sends {
            self.fault(format!("request {request} made {sends} sends, and reported {lines}"));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS {
            self.faults.push(fault);
        }
    }
}

impl Requested {
    /// Returns the fault of its events, if any.
    fn fault(&self, ended: Ended) -> Option<String> {
        let Self { sends, failed, abandoned, recovered, .. } = *self;
        let right = match ended {
            Ended::Failed => (failed, abandoned, recovered) == (1, 0, 0),
            Ended::Ok | Ended::Cut if sends > 1 => (failed, abandoned, recovered) == (0, 0, 1),
            // If there is more than one send, the first has failed.
            Ended::Dropped if sends > 1 => (failed, abandoned, recovered) == (0, 1, 0),
            Ended::Dropped if sends == 1 => failed + recovered == 0 && abandoned <= 1,
            Ended::Ok | Ended::Cut | Ended::Dropped => failed + abandoned + recovered == 0,
            // A request in progress has no events, and counts as hung.
            Ended::Hung => failed + recovered == 0,
        };
        let text = || {
            format!(
                "was reported {failed} times as failed, {abandoned} as abandoned, {recovered} as recovered, after {sends} sends"
            )
        };
        (!right).then(text)
    }
}
