//! Checks the invariants against the upstream's log alone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::response::Parts;
use tokio::time::Instant;
use tower_failover::{
    Event, Pool, Reason, Verdict,
    pool::State,
    report::{OutReason, Outcome},
};

use super::{
    script::{SECRET, World},
    upstream::{LogEntry, NUMBER, Sent, TestUpstream},
};

/// The outcome of a request for the caller.
pub(super) enum Ended {
    /// The body is `None` if it was cut.
    Answer(Parts, Option<Bytes>),
    Error,
    Dropped,
}

/// The requests by number, with their start and outcome.
type Ends = BTreeMap<u32, (Instant, Ended)>;

/// The time after which a request starts no attempt, with a margin for late timers.
const DEADLINE: Duration = Duration::from_millis(60_002);

pub(super) fn all(
    world: &World<'_>,
    pool: &Pool,
    upstream: &TestUpstream,
    events: &[Event],
    ends: &Ends,
) {
    let (sent, log) = (upstream.sent(), upstream.log());
    let incidents = walk(&sent, &log);
    assert_eq!(reported_rejections(events), incidents, "incidents\n{events:#?}\n{sent:#?}");
    for (id, (started, ended)) in ends {
        let mine: Vec<_> = (0..).zip(&sent).filter(|(_, sent)| sent.id == *id).collect();
        bounded(world, *id, *started, &mine);
        newest(&mine, ended);
        reported(*id, &mine, ended, events);
    }
    assert!(!format!("{events:?}").contains(SECRET), "{events:#?}");
    for account in pool.view().accounts {
        assert_eq!(account.in_flight, 0, "{account:?}");
        assert_ne!(account.state, State::Probing, "{account:?}");
    }
}

/// Checks I3, and I1 within one request.
fn bounded(world: &World<'_>, id: u32, started: Instant, mine: &[(usize, &Sent)]) {
    let own = world.request_plan(id).attempts.map(|attempts| u32::from(attempts % 5) + 1);
    let most = own.unwrap_or(u32::MAX).min(world.attempts()) as usize;
    assert!(mine.len() <= most, "{} attempts of {most}: {mine:#?}", mine.len());
    let late = mine.iter().skip(1).find(|(_, sent)| sent.at - started > DEADLINE);
    assert!(late.is_none(), "after the deadline: {late:#?}");
    let rejected: Vec<_> = mine
        .iter()
        .filter(|(_, sent)| sent.answered && sent.verdict.is_unauthorized())
        .map(|(_, sent)| sent.who)
        .collect();
    assert!(
        rejected.len() <= world.max_refusals() as usize,
        "{rejected:?} of {}",
        world.max_refusals()
    );
    for (at, (number, attempt)) in mine.iter().enumerate() {
        let again = mine[at + 1..].iter().find(|(_, later)| later.who == attempt.who);
        let rejected = attempt.answered && attempt.verdict.is_unauthorized();
        assert!(
            !rejected || again.is_none(),
            "attempt {number} was rejected, and again {again:#?}"
        );
    }
}

/// Checks I7: the newest answer, complete.
fn newest(mine: &[(usize, &Sent)], ended: &Ended) {
    let Ended::Answer(head, body) = ended else { return };
    let Some(number) = head.headers.get(NUMBER) else { return };
    let number: usize = number.to_str().expect("a number").parse().expect("a number");
    let (last, sent) = mine.last().expect("an attempt");
    assert_eq!(number, *last, "a stale answer");
    assert_eq!(Some(head.status), sent.status);
    assert_eq!(body.as_ref(), sent.whole.then_some(&sent.body));
}

/// Checks I2 for one request.
fn reported(id: u32, mine: &[(usize, &Sent)], ended: &Ended, events: &[Event]) {
    let name = format!("r-{id}");
    let about = events.iter().filter(|event| {
        event.record().is_some_and(|record| record.request_id.as_deref() == Some(&name))
    });
    let about: Vec<_> = about.collect();
    let failures: Vec<_> = mine
        .iter()
        .filter(|(_, sent)| sent.answered && !sent.verdict.is_success())
        .map(|(_, sent)| sent)
        .collect();
    let wanted = match ended {
        Ended::Dropped if failures.is_empty() => None,
        Ended::Dropped => Some(Outcome::Dropped),
        Ended::Error => {
            assert!(about.len() == 1 && about[0].is_failure(), "{about:#?}");
            assert!(matches!(about[0].record().unwrap().outcome, Outcome::Error(_)));
            assert_eq!(about[0].record().unwrap().trail.len(), failures.len());
            return;
        }
        Ended::Answer(head, _) if head.headers.contains_key(NUMBER) => {
            let (_, last) = mine.last().expect("an attempt");
            (!last.verdict.is_success()).then_some(Outcome::Answer(head.status))
        }
        Ended::Answer(head, _) => {
            assert!(about.len() == 1 && about[0].is_failure(), "{about:#?} for {head:#?}");
            assert_eq!(about[0].record().unwrap().trail.len(), failures.len());
            return;
        }
    };
    let outcomes: Vec<_> = about.iter().map(|event| &event.record().unwrap().outcome).collect();
    assert_eq!(outcomes, wanted.as_ref().into_iter().collect::<Vec<_>>(), "{about:#?}");
    for event in about {
        let trail = &event.record().unwrap().trail;
        assert_eq!(trail.len(), failures.len(), "{trail:#?}\n{failures:#?}");
        let statuses = trail.iter().map(|line| line.status);
        assert!(statuses.eq(failures.iter().map(|sent| sent.status)), "{trail:#?}");
    }
}

/// Counts the reported rejections of each credential.
fn reported_rejections(events: &[Event]) -> BTreeMap<(usize, u64), usize> {
    let mut reported = BTreeMap::new();
    for event in events {
        let out = match event {
            Event::AccountOut(out) => out,
            Event::PoolDead(dead) => &dead.cause,
            _ => continue,
        };
        if let OutReason::Rejected(_) = out.reason {
            let account = out.account.id[1..].parse().expect("a number");
            *reported.entry((account, out.generation)).or_default() += 1;
        }
    }
    reported
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Alive,
    Quarantined(Instant),
    Probing(usize),
}

#[derive(Clone, Copy, Debug)]
struct Credential {
    state: Known,
    /// It has succeeded once.
    trusted: bool,
    /// Attempts sent before this place of the log are outdated evidence.
    chapter: usize,
    replaced: bool,
}

/// Checks I1 across requests; returns how often each credential was taken out.
fn walk(sent: &[Sent], log: &[LogEntry]) -> BTreeMap<(usize, u64), usize> {
    let mut all: BTreeMap<(usize, u64), Credential> = BTreeMap::new();
    let mut starts = BTreeMap::new();
    let mut incidents = BTreeMap::new();
    let fresh = Credential { state: Known::Alive, trusted: false, chapter: 0, replaced: false };
    for (place, one) in log.iter().enumerate() {
        match *one {
            LogEntry::Change(changed) => {
                all.entry((changed.account, changed.generation)).or_insert(fresh).replaced = true;
            }
            LogEntry::Start(n) => {
                starts.insert(n, place);
                let known = all.entry(sent[n].who).or_insert(fresh);
                assert!(
                    !known.replaced,
                    "attempt {n} has a credential that was replaced: {sent:#?}"
                );
                match known.state {
                    Known::Alive => {}
                    Known::Quarantined(until) if until <= sent[n].at => {
                        (known.state, known.chapter) = (Known::Probing(n), place);
                    }
                    state => panic!("attempt {n} started while {state:?}: {sent:#?} {log:#?}"),
                }
            }
            LogEntry::Answer(n, at) => {
                let known = all.entry(sent[n].who).or_insert(fresh);
                let late = starts[&n] < known.chapter;
                if answered(known, n, sent[n].verdict, at, late) {
                    *incidents.entry(sent[n].who).or_default() += 1;
                }
            }
            LogEntry::Drop(n) => {
                let known = all.entry(sent[n].who).or_insert(fresh);
                if known.state == Known::Probing(n) {
                    known.state = Known::Quarantined(sent[n].at);
                }
            }
        }
    }
    incidents
}

/// Returns whether the rejection took the credential out.
fn answered(known: &mut Credential, n: usize, verdict: Verdict, at: Instant, late: bool) -> bool {
    let probe = known.state == Known::Probing(n);
    match verdict {
        Verdict::Unauthorized(reason) => {
            let alive = known.state == Known::Alive && !late && !known.replaced;
            if alive || probe {
                // The minimum; repeated rejections make it longer.
                let least = match reason {
                    Reason::Revoked => 3_600,
                    _ if known.trusted => 5,
                    _ => 300,
                };
                known.state = Known::Quarantined(at + Duration::from_secs(least));
            }
            return alive;
        }
        Verdict::Success => known.trusted = true,
        _ => {}
    }
    if probe {
        let nothing = matches!(verdict, Verdict::Transient { .. } | Verdict::Rejected);
        known.state = if nothing { Known::Quarantined(at) } else { Known::Alive };
    }
    false
}
