//! The expected state of each credential, derived only from the logs of the upstream and the sources.
//!
//! If an account has a source that may mint another token after a rejection, a rejected token is *spent*:
//! it is not sent again, not even as a probe, and it is no incident, until the source has returned the
//! same token. A token that was minted after a rejection, and never worked, is rejected like any other:
//! there is no third. A token is not sent after its expiry.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use tower_failover::{Reason, Verdict, classify::ModelFault, credential::RefreshReason};

use super::{
    sources::{Fed, Heard},
    upstream::{Changed, Double, End, Sent, Who},
    world::{AccountPlan, Change},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// Its source has not returned the first token yet.
    Absent,
    /// Rejected, and its source is to mint another; `told` if it was reported to be out before.
    Spent {
        told: bool,
    },
    Quarantined(Instant),
    Probing(usize),
    Out,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    state: State,
    trusted: bool,
    strikes: u32,
    /// The number of the event that invalidates older evidence.
    chapter: usize,
    closed: bool,
    /// The last reason of its rejection.
    reason: Reason,
    /// Whether it was minted because the one before was rejected.
    forced: bool,
    /// The expiry, after which it is not sent.
    end: Option<Instant>,
    /// Whether the pool knew of its expiry at its rejection, or of another's, is not visible from
    /// outside, nor is its report.
    vague: bool,
}

impl Known {
    const FRESH: Self = Self {
        state: State::Alive,
        trusted: false,
        strikes: 0,
        chapter: 0,
        closed: false,
        reason: Reason::Invalid,
        forced: false,
        end: None,
        vague: false,
    };

    fn has_ended(&self, at: Instant) -> bool {
        self.end.is_some_and(|end| at >= end)
    }
}

/// The known state of an account.
#[derive(Clone, Copy, Debug)]
struct Account {
    plan: AccountPlan,
    /// The current generation.
    current: u64,
    /// The reason of the last call to its source.
    why: RefreshReason,
    /// Whether its source returns nothing until a person acts.
    over: bool,
}

impl Account {
    fn can_renew_after(&self, reason: Reason) -> bool {
        self.plan.source.is_some_and(|source| source.can_renew_after(reason)) && !self.over
    }
}

/// The facts that the log shows.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Attempts that must not have been started.
    pub(crate) wrong: Vec<String>,
    /// The number of incidents of each credential.
    pub(crate) incidents: BTreeMap<Who, usize>,
    /// The credentials whose incidents are not visible.
    pub(crate) vague: BTreeSet<Who>,
}

enum Event<'a> {
    Start(&'a Sent),
    Answer(&'a Sent, Instant),
    Drop(&'a Sent),
    Change(&'a Changed),
    Heard(&'a Heard),
}

/// Returns the shortest quarantine.
fn quarantine(known: &Known, strikes: u32) -> Duration {
    let (first, most) = match known.reason {
        Reason::Revoked => (3_600, 86_400),
        _ if known.trusted => (5, 3_600),
        _ => (300, 3_600),
    };
    Duration::from_secs((first << strikes.min(16)).min(most))
}

/// The known state at a point of the log.
struct Walk<'a> {
    double: &'a Double,
    /// A foreign layer may resend a success: the pool sees only the last answer.
    foreign: bool,
    tokens: BTreeMap<Who, Known>,
    accounts: BTreeMap<(usize, usize), Account>,
    findings: Findings,
}

/// Walks through the log, in order.
pub(crate) fn walk(double: &Double, foreign: bool) -> Findings {
    let (log, changes) = (double.log(), double.changes());
    let heard = double.sources(|log| log.heard.clone());
    let mut events: Vec<(usize, Event<'_>)> = Vec::new();
    for sent in log.iter().filter(|sent| sent.who.is_some()) {
        events.push((sent.seq, Event::Start(sent)));
        match sent.end {
            End::Answered { at, seq } => events.push((seq, Event::Answer(sent, at))),
            End::Dropped { seq, .. } => events.push((seq, Event::Drop(sent))),
            End::Not => {}
        }
    }
    events.extend(changes.iter().map(|change| (change.seq, Event::Change(change))));
    events.extend(heard.iter().map(|heard| (heard.seq, Event::Heard(heard))));
    events.sort_by_key(|(seq, _)| *seq);
    let findings = Findings::default();
    let (tokens, accounts) = (BTreeMap::new(), BTreeMap::new());
    let mut walk = Walk { double, foreign, tokens, accounts, findings };
    for (seq, event) in events {
        match event {
            Event::Start(sent) => walk.start(sent, seq),
            Event::Answer(sent, at) => walk.answer(sent, at),
            Event::Drop(sent) => refund(walk.token(sent.who.unwrap()), sent),
            Event::Change(change) => walk.change(change, seq),
            Event::Heard(heard) => walk.heard(heard),
        }
    }
    let vague = walk.tokens.iter().filter(|(_, known)| known.vague).map(|(who, _)| *who);
    walk.findings.vague = vague.collect();
    walk.findings
}

impl Walk<'_> {
    fn account(&mut self, pool: usize, account: usize) -> &mut Account {
        let plan = self.double.plan(pool, account);
        let loaded = plan.source.as_ref().is_none_or(|source| source.loaded);
        let current = u64::from(loaded);
        let fresh = Account { plan, current, why: RefreshReason::First, over: false };
        self.accounts.entry((pool, account)).or_insert(fresh)
    }

    /// Returns the state of a credential without evidence against it.
    fn first(&self, who: Who) -> State {
        let source = self.double.plan(who.pool, who.account).source;
        let absent = who.generation == 0 && source.is_some_and(|source| !source.loaded);
        if absent { State::Absent } else { State::Alive }
    }

    fn token(&mut self, who: Who) -> &mut Known {
        let plan = self.double.plan(who.pool, who.account);
        let end = plan.first_end().filter(|_| who.generation == 1);
        let end = end.map(|end| self.double.since() + end);
        let state = self.first(who);
        self.tokens.entry(who).or_insert(Known { state, end, ..Known::FRESH })
    }

    fn start(&mut self, sent: &Sent, seq: usize) {
        let who = sent.who.unwrap();
        let current = self.account(who.pool, who.account).current;
        let known = self.token(who);
        let wrong = match known.state {
            _ if who.generation > current => Some("unknown"),
            _ if known.closed => Some("replaced"),
            _ if known.has_ended(sent.at) => Some("ended"),
            State::Alive => None,
            State::Absent => Some("absent"),
            State::Spent { .. } => Some("spent"),
            State::Quarantined(until) if sent.at < until => Some("quarantined"),
            State::Quarantined(_) => {
                known.state = State::Probing(sent.n);
                known.chapter = seq;
                None
            }
            State::Probing(_) => Some("probed"),
            State::Out => Some("retired"),
        };
        if let Some(wrong) = wrong {
            let wrong = format!("attempt {} of {who:?} started while {wrong}", sent.n);
            self.findings.wrong.push(wrong);
        }
    }

    fn answer(&mut self, sent: &Sent, at: Instant) {
        let who = sent.who.unwrap();
        let known = self.token(who);
        let probe = known.state == State::Probing(sent.n);
        match sent.verdict {
            Verdict::Unauthorized(reason) => {
                let late = sent.seq < known.chapter;
                let alive = known.state == State::Alive && !late && !known.closed;
                if alive || probe {
                    self.refuse(who, reason, at, probe);
                }
            }
            Verdict::Success => {
                known.trusted = true;
                known.strikes = 0;
                if probe {
                    known.state = State::Alive;
                }
            }
            Verdict::Transient { .. } | Verdict::Rejected => refund(known, sent),
            Verdict::ModelFault { fault: ModelFault::NotFound, .. } | _ => {
                if probe {
                    known.state = State::Alive;
                }
            }
        }
    }

    /// Applies the rejection of a usable credential, or of a probe.
    fn refuse(&mut self, who: Who, reason: Reason, at: Instant, probe: bool) {
        let asks = self.account(who.pool, who.account).can_renew_after(reason);
        let foreign = self.foreign;
        let known = self.token(who);
        known.reason = reason;
        // Nor is it visible whether the pool knows that a token minted after a rejection has worked.
        known.vague |= known.has_ended(at) || foreign && known.forced && known.trusted;
        let hopeless = known.forced && !known.trusted;
        known.strikes += 1;
        if asks && !hopeless && !known.vague {
            known.state = State::Spent { told: probe };
            return;
        }
        known.state = State::Quarantined(at + quarantine(known, known.strikes - 1));
        if !probe {
            *self.findings.incidents.entry(who).or_default() += 1;
        }
    }

    fn change(&mut self, change: &Changed, seq: usize) {
        let who = Who { pool: 0, account: change.account, generation: change.generation };
        let first = self.first(who);
        let known = self.token(who);
        match change.change {
            Change::Replace => {
                known.closed = true;
                let account = self.account(0, change.account);
                account.current = change.generation + 1;
                account.over = false;
            }
            Change::Revive => {
                if known.state != State::Alive || known.strikes > 0 {
                    known.chapter = seq;
                }
                (known.state, known.strikes) = (first, 0);
                // The expiry may be wrong because of a clock.
                known.end = known.end.filter(|end| change.at < *end);
                self.account(0, change.account).over = false;
            }
            Change::Retire => (known.state, known.chapter) = (State::Out, seq),
            Change::Invalidate if known.state == State::Alive => {
                self.refuse(who, Reason::Invalid, change.at, false);
            }
            Change::Invalidate | Change::Rest(_) | Change::RestModel(..) => {}
        }
    }

    fn heard(&mut self, heard: &Heard) {
        let account = self.account(heard.pool, heard.account);
        let who = Who { pool: heard.pool, account: heard.account, generation: account.current };
        match heard.what {
            Fed::Asked(why) => account.why = why,
            Fed::Over(old) if old != who.generation => {}
            Fed::Over(_) => {
                account.over = true;
                let known = self.token(who);
                if let State::Spent { .. } = known.state {
                    known.state = State::Out;
                }
            }
            Fed::Given(generation, old, life) if old == who.generation => {
                if generation == old {
                    self.same(who, heard.at);
                } else {
                    self.renewed(who, Who { generation, ..who }, life.map(|life| heard.at + life));
                }
            }
            // A person has replaced it meanwhile.
            Fed::Given(..) | Fed::Silent => {}
        }
    }

    /// Applies that the source returned the current token. If its call began before the rejection, it is
    /// called again.
    fn same(&mut self, who: Who, at: Instant) {
        let refused = self.account(who.pool, who.account).why.is_rejected();
        let known = self.token(who);
        if let (State::Spent { told }, true) = (known.state, refused) {
            known.state = State::Quarantined(at + quarantine(known, known.strikes - 1));
            if !told {
                *self.findings.incidents.entry(who).or_default() += 1;
            }
        }
    }

    /// Applies that the source returned another token.
    fn renewed(&mut self, who: Who, next: Who, end: Option<Instant>) {
        let account = self.account(who.pool, who.account);
        account.current = next.generation;
        let refused = account.why.is_rejected();
        let known = self.token(who);
        known.closed = true;
        let new = Known {
            forced: refused || matches!(known.state, State::Spent { .. }),
            vague: known.vague && !refused,
            // An account that a person has taken out is taken in only by a person.
            state: if known.state == State::Out { State::Out } else { State::Alive },
            end,
            ..Known::FRESH
        };
        self.tokens.insert(next, new);
    }
}

/// Applies a probe that proved nothing: another probe is still due.
fn refund(known: &mut Known, sent: &Sent) {
    if known.state == State::Probing(sent.n) {
        known.state = State::Quarantined(sent.at);
    }
}
