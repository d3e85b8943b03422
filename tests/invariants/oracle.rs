//! The state that each credential must have, derived from the logs of the upstream and the sources
//! alone.
//!
//! If a source can renew a token after a rejection, a rejected token is *spent*: it is not sent
//! again, not even as a probe, and it is no incident until the source returns the same token. A
//! token that was renewed after a rejection and never worked is rejected like any other: there is
//! no third one. An expired token is not sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;
use tower_failover::{Reason, Verdict, classify::ModelFault, credential::RefreshReason};

use super::{
    sources::{SourceEvent, SourceStep},
    upstream::{Changed, CredentialId, End, Sent, TestUpstream},
    world::{AccountPlan, Change},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    /// Its source has not returned the first token yet.
    Absent,
    /// Rejected, and its source is renewing it; `reported` if it was reported as out before.
    Spent {
        reported: bool,
    },
    Quarantined(Instant),
    Probing(usize),
    Out,
}

#[derive(Clone, Copy, Debug)]
struct TokenState {
    state: State,
    trusted: bool,
    strikes: u32,
    /// The number of the event that invalidated older evidence.
    valid_from: usize,
    closed: bool,
    /// The reason of its last rejection.
    reason: Reason,
    /// It was renewed after a rejection of the one before.
    forced: bool,
    /// Its expiry.
    end: Option<Instant>,
    /// From outside it is unknown whether the pool had noticed an expiry at the rejection, and so
    /// what it reported.
    vague: bool,
}

impl TokenState {
    const FRESH: Self = Self {
        state: State::Alive,
        trusted: false,
        strikes: 0,
        valid_from: 0,
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

/// The derived state of an account.
#[derive(Clone, Copy, Debug)]
struct Account {
    plan: AccountPlan,
    /// Its current generation.
    current: u64,
    /// The reason of the last call of its source.
    why: RefreshReason,
    /// Its source failed terminally, and no operator has acted since.
    terminal: bool,
}

impl Account {
    fn can_renew_after(&self, reason: Reason) -> bool {
        self.plan.source.is_some_and(|source| source.can_renew_after(reason)) && !self.terminal
    }
}

/// The findings from the log.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Attempts that must not have been started.
    pub(crate) wrong: Vec<String>,
    /// How often each credential was taken out.
    pub(crate) incidents: BTreeMap<CredentialId, usize>,
    /// Credentials whose incidents cannot be derived.
    pub(crate) vague: BTreeSet<CredentialId>,
}

enum Event<'a> {
    Start(&'a Sent),
    Answer(&'a Sent, Instant),
    Drop(&'a Sent),
    Change(&'a Changed),
    Source(&'a SourceEvent),
}

/// Returns the shortest quarantine of a credential.
fn quarantine(token_state: &TokenState, strikes: u32) -> Duration {
    let (first, most) = match token_state.reason {
        Reason::Revoked => (3_600, 86_400),
        _ if token_state.trusted => (5, 3_600),
        _ => (300, 3_600),
    };
    Duration::from_secs((first << strikes.min(16)).min(most))
}

/// The state derived from the log up to the current event.
struct LogCheck<'a> {
    upstream: &'a TestUpstream,
    /// A foreign layer may resend after a success: the pool sees only the last answer.
    foreign: bool,
    tokens: BTreeMap<CredentialId, TokenState>,
    accounts: BTreeMap<(usize, usize), Account>,
    findings: Findings,
}

/// Checks the log in the order of its events.
pub(crate) fn check_log(upstream: &TestUpstream, foreign: bool) -> Findings {
    let (log, changes) = (upstream.log(), upstream.changes());
    let source_events = upstream.sources(|log| log.events.clone());
    let mut events: Vec<(usize, Event<'_>)> = Vec::new();
    for sent in log.iter().filter(|sent| sent.credential.is_some()) {
        events.push((sent.seq, Event::Start(sent)));
        match sent.end {
            End::Answered { at, seq } => events.push((seq, Event::Answer(sent, at))),
            End::Dropped { seq, .. } => events.push((seq, Event::Drop(sent))),
            End::Not => {}
        }
    }
    events.extend(changes.iter().map(|change| (change.seq, Event::Change(change))));
    events.extend(source_events.iter().map(|event| (event.seq, Event::Source(event))));
    events.sort_by_key(|(seq, _)| *seq);
    let findings = Findings::default();
    let (tokens, accounts) = (BTreeMap::new(), BTreeMap::new());
    let mut check = LogCheck { upstream, foreign, tokens, accounts, findings };
    for (seq, event) in events {
        match event {
            Event::Start(sent) => check.start(sent, seq),
            Event::Answer(sent, at) => check.answer(sent, at),
            Event::Drop(sent) => refund(check.token(sent.credential.unwrap()), sent),
            Event::Change(change) => check.change(change, seq),
            Event::Source(event) => check.record_event(event),
        }
    }
    let vague = check
        .tokens
        .iter()
        .filter(|(_, token_state)| token_state.vague)
        .map(|(credential, _)| *credential);
    check.findings.vague = vague.collect();
    check.findings
}

impl LogCheck<'_> {
    fn account(&mut self, pool: usize, account: usize) -> &mut Account {
        let plan = self.upstream.plan(pool, account);
        let loaded = plan.source.as_ref().is_none_or(|source| source.loaded);
        let current = u64::from(loaded);
        let fresh = Account { plan, current, why: RefreshReason::First, terminal: false };
        self.accounts.entry((pool, account)).or_insert(fresh)
    }

    /// Returns the initial state of a credential.
    fn first(&self, credential: CredentialId) -> State {
        let source = self.upstream.plan(credential.pool, credential.account).source;
        let absent = credential.generation == 0 && source.is_some_and(|source| !source.loaded);
        if absent { State::Absent } else { State::Alive }
    }

    fn token(&mut self, credential: CredentialId) -> &mut TokenState {
        let plan = self.upstream.plan(credential.pool, credential.account);
        let end = plan.first_end().filter(|_| credential.generation == 1);
        let end = end.map(|end| self.upstream.since() + end);
        let state = self.first(credential);
        self.tokens.entry(credential).or_insert(TokenState { state, end, ..TokenState::FRESH })
    }

    fn start(&mut self, sent: &Sent, seq: usize) {
        let credential = sent.credential.unwrap();
        let current = self.account(credential.pool, credential.account).current;
        let token_state = self.token(credential);
        let wrong = match token_state.state {
            _ if credential.generation > current => Some("unknown"),
            _ if token_state.closed => Some("replaced"),
            _ if token_state.has_ended(sent.at) => Some("ended"),
            State::Alive => None,
            State::Absent => Some("absent"),
            State::Spent { .. } => Some("spent"),
            State::Quarantined(until) if sent.at < until => Some("quarantined"),
            State::Quarantined(_) => {
                token_state.state = State::Probing(sent.n);
                token_state.valid_from = seq;
                None
            }
            State::Probing(_) => Some("probed"),
            State::Out => Some("retired"),
        };
        if let Some(wrong) = wrong {
            let wrong = format!("attempt {} of {credential:?} started while {wrong}", sent.n);
            self.findings.wrong.push(wrong);
        }
    }

    fn answer(&mut self, sent: &Sent, at: Instant) {
        let credential = sent.credential.unwrap();
        let token_state = self.token(credential);
        let probe = token_state.state == State::Probing(sent.n);
        match sent.verdict {
            Verdict::Unauthorized(reason) => {
                let late = sent.seq < token_state.valid_from;
                let alive = token_state.state == State::Alive && !late && !token_state.closed;
                if alive || probe {
                    self.reject(credential, reason, at, probe);
                }
            }
            Verdict::Success => {
                token_state.trusted = true;
                token_state.strikes = 0;
                if probe {
                    token_state.state = State::Alive;
                }
            }
            Verdict::Transient { .. } | Verdict::Rejected => refund(token_state, sent),
            Verdict::ModelFault { fault: ModelFault::NotFound, .. } | _ => {
                if probe {
                    token_state.state = State::Alive;
                }
            }
        }
    }

    /// Applies the rejection of a usable credential or a probe.
    fn reject(&mut self, credential: CredentialId, reason: Reason, at: Instant, probe: bool) {
        let renewable = self.account(credential.pool, credential.account).can_renew_after(reason);
        let foreign = self.foreign;
        let token_state = self.token(credential);
        token_state.reason = reason;
        // It is also unknown whether the pool has seen a success of a token that was renewed after
        // a rejection.
        token_state.vague |=
            token_state.has_ended(at) || foreign && token_state.forced && token_state.trusted;
        let hopeless = token_state.forced && !token_state.trusted;
        token_state.strikes += 1;
        if renewable && !hopeless && !token_state.vague {
            token_state.state = State::Spent { reported: probe };
            return;
        }
        token_state.state =
            State::Quarantined(at + quarantine(token_state, token_state.strikes - 1));
        if !probe {
            *self.findings.incidents.entry(credential).or_default() += 1;
        }
    }

    fn change(&mut self, change: &Changed, seq: usize) {
        let credential =
            CredentialId { pool: 0, account: change.account, generation: change.generation };
        let first = self.first(credential);
        let token_state = self.token(credential);
        match change.change {
            Change::Replace => {
                token_state.closed = true;
                let account = self.account(0, change.account);
                account.current = change.generation + 1;
                account.terminal = false;
            }
            Change::Revive => {
                if token_state.state != State::Alive || token_state.strikes > 0 {
                    token_state.valid_from = seq;
                }
                (token_state.state, token_state.strikes) = (first, 0);
                // The clock that decided the expiry may be wrong.
                token_state.end = token_state.end.filter(|end| change.at < *end);
                self.account(0, change.account).terminal = false;
            }
            Change::Retire => (token_state.state, token_state.valid_from) = (State::Out, seq),
            Change::Invalidate if token_state.state == State::Alive => {
                self.reject(credential, Reason::Invalid, change.at, false);
            }
            Change::Invalidate | Change::CoolDown(_) | Change::CoolDownModel(..) => {}
        }
    }

    fn record_event(&mut self, event: &SourceEvent) {
        let account = self.account(event.pool, event.account);
        let credential =
            CredentialId { pool: event.pool, account: event.account, generation: account.current };
        match event.step {
            SourceStep::Called(why) => account.why = why,
            SourceStep::Terminal(old) if old != credential.generation => {}
            SourceStep::Terminal(_) => {
                account.terminal = true;
                let token_state = self.token(credential);
                if let State::Spent { .. } = token_state.state {
                    token_state.state = State::Out;
                }
            }
            SourceStep::Received(generation, old, lifetime) if old == credential.generation => {
                if generation == old {
                    self.same(credential, event.at);
                } else {
                    self.renewed(
                        credential,
                        CredentialId { generation, ..credential },
                        lifetime.map(|lifetime| event.at + lifetime),
                    );
                }
            }
            // An operator replaced the credential during the refresh.
            SourceStep::Received(..) | SourceStep::Ended => {}
        }
    }

    /// Applies that the source returned the current token. If it was called before the rejection,
    /// it is called again.
    fn same(&mut self, credential: CredentialId, at: Instant) {
        let rejected = self.account(credential.pool, credential.account).why.is_rejected();
        let token_state = self.token(credential);
        if let (State::Spent { reported }, true) = (token_state.state, rejected) {
            token_state.state =
                State::Quarantined(at + quarantine(token_state, token_state.strikes - 1));
            if !reported {
                *self.findings.incidents.entry(credential).or_default() += 1;
            }
        }
    }

    /// Applies that the source returned another token.
    fn renewed(&mut self, credential: CredentialId, next: CredentialId, end: Option<Instant>) {
        let account = self.account(credential.pool, credential.account);
        account.current = next.generation;
        let rejected = account.why.is_rejected();
        let token_state = self.token(credential);
        token_state.closed = true;
        let new = TokenState {
            forced: rejected || matches!(token_state.state, State::Spent { .. }),
            vague: token_state.vague && !rejected,
            // An account that an operator retired returns only by an operator.
            state: if token_state.state == State::Out { State::Out } else { State::Alive },
            end,
            ..TokenState::FRESH
        };
        self.tokens.insert(next, new);
    }
}

/// Returns a probe without a result: the next request may probe.
fn refund(token_state: &mut TokenState, sent: &Sent) {
    if token_state.state == State::Probing(sent.n) {
        token_state.state = State::Quarantined(sent.at);
    }
}
