//! What a request asks of a pool.

use tokio::time::Instant;

use crate::{
    clock::Now,
    pool::{
        Pool,
        lease::Lease,
        select::{Avoid, Pin, Query, Unavailable},
    },
    stage::{AccountPin, Ask, Ledger, RequestOptions, Wanted},
};

struct Shun<'a> {
    pool: u32,
    tried: &'a [(u32, u64)],
    ledger: Option<&'a Ledger>,
}

impl Shun<'_> {
    /// Whether anybody is left out.
    fn is_any(&self) -> bool {
        // Groups are closed, and rotation is stopped, after refusals only.
        !self.tried.is_empty() || self.ledger.is_some_and(|ledger| ledger.refusals() > 0)
    }
}

impl Avoid for Shun<'_> {
    fn avoids(&self, account: u32, generation: u64, group: Option<u32>) -> bool {
        self.tried.contains(&(account, generation))
            || self.ledger.is_some_and(|ledger| {
                // Sent twice, and refused twice: its third credential is not for this request.
                ledger.is_refused(self.pool, account, generation)
                    || ledger.refusals_of(self.pool, account) > 1
                    || group.is_some_and(|group| ledger.is_group_closed(self.pool, group))
            })
    }
}

/// The account `id` once more, with another credential.
pub(super) fn pick_same(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    id: &str,
) -> Option<Lease> {
    let model = if pool.is_restricted() { ask.wanted.get().ok() } else { None };
    let shun = Shun { pool: pool.id(), tried, ledger: ask.ledger };
    let query = Query {
        pin: Some(Pin::Strict(id)),
        sticky: None,
        model: model.as_deref(),
        avoid: Some(&shun),
        probes: false,
        tentative: false,
        last: ask.last,
    };
    pool.pick(&query, ask.now).ok()
}

/// Whether an account will be there for an attempt that starts at `at`; `at_once` says that this is
/// now, when a probe will do.
pub(crate) fn will_serve(
    pool: &Pool,
    options: Option<&RequestOptions>,
    ledger: Option<&Ledger>,
    at: Instant,
    at_once: bool,
    wanted: &mut Wanted<'_>,
) -> bool {
    let mut now = Now::at(at);
    let mut ask = Ask { options, ledger, now: &mut now, wanted, at: Some(at), last: false };
    pick_or_probe(pool, &[], &mut ask, at_once).is_ok()
}

/// An account for the attempt that is asked about, and for its model where that makes a difference.
pub(super) fn pick(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
) -> Result<Lease, Unavailable> {
    // Nobody knows who is probed until then.
    let probes = ask.at.is_none();
    pick_or_probe(pool, tried, ask, probes)
}

fn pick_or_probe(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    probes: bool,
) -> Result<Lease, Unavailable> {
    // Reading the model costs something: only where accounts differ by it.
    if !pool.is_restricted() {
        let lease = pick_for(pool, tried, ask, None, (probes, true))?;
        if !lease.has_model_cooldowns() {
            return Ok(lease);
        }
    }
    let model = ask.wanted.get().ok();
    pick_for(pool, tried, ask, model.as_deref(), (probes, false))
}

fn pick_for(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    model: Option<&str>,
    (probes, tentative): (bool, bool),
) -> Result<Lease, Unavailable> {
    let shun = Shun { pool: pool.id(), tried, ledger: ask.ledger };
    let query = Query { tentative, ..query(ask, &shun, model, probes) };
    match ask.at {
        Some(at) => pool.pick_at(&query, at),
        None => pool.pick(&query, ask.now),
    }
}

/// Whether nobody can serve now, and somebody will when its source has answered. Takes nobody.
pub(super) fn is_under_way(pool: &Pool, tried: &[(u32, u64)], ask: &mut Ask<'_, '_>) -> bool {
    let model = if pool.is_restricted() { ask.wanted.get().ok() } else { None };
    let shun = Shun { pool: pool.id(), tried, ledger: ask.ledger };
    pool.is_under_way(&query(ask, &shun, model.as_deref(), true), ask.now)
}

/// Whether an account's source is down, or late, whose next credential the request could use.
pub(super) fn is_renewed(pool: &Pool, tried: &[(u32, u64)], ask: &mut Ask<'_, '_>) -> bool {
    let model = if pool.is_restricted() { ask.wanted.get().ok() } else { None };
    let shun = Shun { pool: pool.id(), tried, ledger: ask.ledger };
    pool.is_renewing(&query(ask, &shun, model.as_deref(), true))
}

fn query<'a>(
    ask: &Ask<'a, '_>,
    shun: &'a Shun<'a>,
    model: Option<&'a str>,
    probes: bool,
) -> Query<'a> {
    let options = ask.options;
    Query {
        pin: options.and_then(RequestOptions::pinned).map(|pin| match pin {
            AccountPin::Strict(id) => Pin::Strict(id),
            AccountPin::Prefer(id) => Pin::Prefer(id),
        }),
        sticky: options.and_then(RequestOptions::sticky_key),
        model,
        avoid: shun.is_any().then_some(shun as &dyn Avoid),
        probes,
        tentative: false,
        last: ask.last,
    }
}
