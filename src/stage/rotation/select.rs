//! The queries of a request to its pool.

use tokio::time::Instant;

use crate::{
    clock::Now,
    pool::{
        Pool,
        lease::Lease,
        select::{Avoid, Pin, Query, Unavailable},
    },
    stage::{AccountPin, Ask, Ledger, ModelLookup, RequestOptions},
};

/// The accounts that this request must not use again.
struct Exclusions<'a> {
    pool: u32,
    tried: &'a [(u32, u64)],
    ledger: Option<&'a Ledger>,
}

impl Exclusions<'_> {
    /// Returns whether any account is excluded.
    fn is_any(&self) -> bool {
        // Groups are closed, and rotation is stopped, only after rejections.
        !self.tried.is_empty() || self.ledger.is_some_and(|ledger| ledger.rejections() > 0)
    }
}

impl Avoid for Exclusions<'_> {
    fn avoids(&self, account: u32, generation: u64, group: Option<u32>) -> bool {
        self.tried.contains(&(account, generation))
            || self.ledger.is_some_and(|ledger| {
                // Two credentials of the account were rejected: the request does not try a third.
                ledger.is_rejected(self.pool, account, generation)
                    || ledger.rejections_of(self.pool, account) > 1
                    || group.is_some_and(|group| ledger.is_group_closed(self.pool, group))
            })
    }
}

/// Selects the account `id` again, with another credential.
pub(super) fn select_same(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    id: &str,
) -> Option<Lease> {
    let model = if pool.is_restricted() { ask.model.get().ok() } else { None };
    let exclude = Exclusions { pool: pool.id(), tried, ledger: ask.ledger };
    let query = Query {
        pin: Some(Pin::Strict(id)),
        sticky: None,
        model: model.as_deref(),
        avoid: Some(&exclude),
        probes: false,
        tentative: false,
        last: ask.last,
    };
    pool.pick(&query, ask.now).ok()
}

/// Returns whether an account can serve an attempt that starts at `at`. `at_once` says that this is
/// now, so that a probe counts.
pub(crate) fn will_serve(
    pool: &Pool,
    options: Option<&RequestOptions>,
    ledger: Option<&Ledger>,
    at: Instant,
    at_once: bool,
    model: &mut ModelLookup<'_>,
) -> bool {
    let mut now = Now::at(at);
    let mut ask = Ask { options, ledger, now: &mut now, model, at: Some(at), last: false };
    select_or_probe(pool, &[], &mut ask, at_once).is_ok()
}

/// Selects an account for the attempt, and for its model if accounts differ by model.
pub(super) fn select(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
) -> Result<Lease, Unavailable> {
    // Which account has a free probe at a later time is unknown.
    let probes = ask.at.is_none();
    select_or_probe(pool, tried, ask, probes)
}

fn select_or_probe(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    probes: bool,
) -> Result<Lease, Unavailable> {
    // The model is read only if accounts differ by model, since reading it costs time.
    if !pool.is_restricted() {
        let lease = select_for(pool, tried, ask, None, (probes, true))?;
        if !lease.has_model_cooldowns() {
            return Ok(lease);
        }
    }
    let model = ask.model.get().ok();
    select_for(pool, tried, ask, model.as_deref(), (probes, false))
}

fn select_for(
    pool: &Pool,
    tried: &[(u32, u64)],
    ask: &mut Ask<'_, '_>,
    model: Option<&str>,
    (probes, tentative): (bool, bool),
) -> Result<Lease, Unavailable> {
    let exclude = Exclusions { pool: pool.id(), tried, ledger: ask.ledger };
    let query = Query { tentative, ..query(ask, &exclude, model, probes) };
    match ask.at {
        Some(at) => pool.pick_at(&query, at),
        None => pool.pick(&query, ask.now),
    }
}

/// Returns whether no account can serve now, but one can after a refresh in progress. Leases none.
pub(super) fn is_refreshing(pool: &Pool, tried: &[(u32, u64)], ask: &mut Ask<'_, '_>) -> bool {
    let model = if pool.is_restricted() { ask.model.get().ok() } else { None };
    let exclude = Exclusions { pool: pool.id(), tried, ledger: ask.ledger };
    pool.is_under_way(&query(ask, &exclude, model.as_deref(), true), ask.now)
}

/// Returns whether the source of an account fails or is late whose next credential the request could use.
pub(super) fn is_renewed(pool: &Pool, tried: &[(u32, u64)], ask: &mut Ask<'_, '_>) -> bool {
    let model = if pool.is_restricted() { ask.model.get().ok() } else { None };
    let exclude = Exclusions { pool: pool.id(), tried, ledger: ask.ledger };
    pool.is_renewing(&query(ask, &exclude, model.as_deref(), true))
}

fn query<'a>(
    ask: &Ask<'a, '_>,
    exclude: &'a Exclusions<'a>,
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
        avoid: exclude.is_any().then_some(exclude as &dyn Avoid),
        probes,
        tentative: false,
        last: ask.last,
    }
}
