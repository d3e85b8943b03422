//! What the state of each credential must be, told from the upstream's log alone.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tower_failover::{ModelFault, Reason, Verdict};

use super::{
    upstream::{Changed, Double, End, Sent, Who},
    world::Change,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Alive,
    Quarantined(Instant),
    Probing(usize),
    Out,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    state: State,
    trusted: bool,
    strikes: u32,
    /// The number of the event that made older evidence worthless.
    chapter: usize,
    closed: bool,
}

/// What the log shows.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Attempts that should not have been started.
    pub(crate) wrong: Vec<String>,
    /// How often each credential was taken out.
    pub(crate) incidents: BTreeMap<Who, usize>,
}

enum Event<'a> {
    Start(&'a Sent),
    Answer(&'a Sent, Instant),
    Drop(&'a Sent),
    Change(&'a Changed),
}

/// The least time that a credential is left alone.
fn quarantine(reason: Reason, known: &Known) -> Duration {
    let (first, most) = match reason {
        Reason::Revoked => (3_600, 86_400),
        _ if known.trusted => (5, 3_600),
        _ => (300, 3_600),
    };
    Duration::from_secs((first << known.strikes.min(16)).min(most))
}

/// Walks through the log, in the order in which it happened.
pub(crate) fn walk(double: &Double) -> Findings {
    let (log, changes) = (double.log(), double.changes());
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
    events.sort_by_key(|(seq, _)| *seq);
    let mut findings = Findings::default();
    let mut all: BTreeMap<Who, Known> = BTreeMap::new();
    for (seq, event) in events {
        let who = match &event {
            Event::Start(sent) | Event::Answer(sent, _) | Event::Drop(sent) => sent.who.unwrap(),
            Event::Change(change) => {
                Who { pool: 0, account: change.account, generation: change.generation }
            }
        };
        let fresh =
            Known { state: State::Alive, trusted: false, strikes: 0, chapter: 0, closed: false };
        let known = all.entry(who).or_insert(fresh);
        match event {
            Event::Start(sent) => start(known, sent, seq, &mut findings),
            Event::Answer(sent, at) => answer(known, sent, at, &mut findings),
            Event::Drop(sent) => give_back(known, sent),
            Event::Change(change) => change_of(known, change, who, seq, &mut findings),
        }
    }
    findings
}

fn start(known: &mut Known, sent: &Sent, seq: usize, findings: &mut Findings) {
    let wrong = match known.state {
        _ if known.closed => Some("replaced"),
        State::Alive => None,
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
        findings.wrong.push(format!("attempt {} of {:?} started while {wrong}", sent.n, sent.who));
    }
}

fn answer(known: &mut Known, sent: &Sent, at: Instant, findings: &mut Findings) {
    let probe = known.state == State::Probing(sent.n);
    match sent.verdict {
        Verdict::Unauthorized(reason) => {
            let late = sent.seq < known.chapter;
            let alive = known.state == State::Alive && !late && !known.closed;
            if alive {
                *findings.incidents.entry(sent.who.unwrap()).or_default() += 1;
            }
            if alive || probe {
                known.state = State::Quarantined(at + quarantine(reason, known));
                known.strikes += 1;
            }
        }
        Verdict::Success => {
            known.trusted = true;
            known.strikes = 0;
            if probe {
                known.state = State::Alive;
            }
        }
        Verdict::Transient { .. } | Verdict::Rejected => give_back(known, sent),
        Verdict::ModelFault { fault: ModelFault::NotFound, .. } | _ => {
            if probe {
                known.state = State::Alive;
            }
        }
    }
}

/// A probe that showed nothing: the time was up before it, and still is.
fn give_back(known: &mut Known, sent: &Sent) {
    if known.state == State::Probing(sent.n) {
        known.state = State::Quarantined(sent.at);
    }
}

fn change_of(known: &mut Known, change: &Changed, who: Who, seq: usize, findings: &mut Findings) {
    match change.change {
        Change::Replace => known.closed = true,
        Change::Revive => {
            if known.state != State::Alive || known.strikes > 0 {
                known.chapter = seq;
            }
            (known.state, known.strikes) = (State::Alive, 0);
        }
        Change::Retire => (known.state, known.chapter) = (State::Out, seq),
        Change::Invalidate if known.state == State::Alive => {
            *findings.incidents.entry(who).or_default() += 1;
            known.state = State::Quarantined(change.at + quarantine(Reason::Invalid, known));
            known.strikes += 1;
        }
        Change::Invalidate | Change::Rest(_) | Change::RestModel(..) => {}
    }
}
