use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    classify::Reason,
    clock::Now,
    credential::{Account, Credential},
    pool::{
        Pool, PoolBuilder, State,
        lease::Lease,
        select::{Avoid, Pin, Query, Unavailable},
    },
    report::Event,
};

pub(crate) fn account(id: &str) -> Account {
    Account::new(id, Credential::bearer(format!("tok-of-{id}-0")).unwrap())
}

pub(crate) fn accounts(ids: &[&str]) -> PoolBuilder {
    Pool::builder().any_origin().accounts(ids.iter().map(|id| account(id)))
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The events that the reporter received.
#[derive(Clone, Default)]
pub(crate) struct Reported(Arc<Mutex<Vec<Event>>>);

impl Reported {
    pub(crate) fn reporter(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let reported = Arc::clone(&self.0);
        move |event| reported.lock().unwrap().push(event.clone())
    }

    /// One word for each event, and the account.
    pub(crate) fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        events
            .iter()
            .map(|event| match event {
                Event::AccountOut(out) => format!("out {}", out.account.id),
                Event::PoolDead(dead) => format!("dead {}", dead.cause.account.id),
                other => format!("{other:?}"),
            })
            .collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

pub(crate) const REASONS: [Reason; 6] = [
    Reason::Missing,
    Reason::Expired,
    Reason::Invalid,
    Reason::Revoked,
    Reason::Inactive,
    Reason::InsufficientScope,
];

pub(crate) const ANY: Query<'static> = Query::ANY;

/// A lease, and the pool that it reports to.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) lease: Lease,
    shared: Shared,
}

/// The effect of a rejection: whether it took the account out, and for how long it is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) won: bool,
    pub(crate) rest: Duration,
}

/// The state of a pool, without a handle that keeps the pool open.
struct Shared(Arc<crate::pool::shared::Shared>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl std::ops::Deref for Leased {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl std::ops::DerefMut for Leased {
    fn deref_mut(&mut self) -> &mut Lease {
        &mut self.lease
    }
}

impl Leased {
    pub(crate) fn new(pool: &Pool, lease: Lease) -> Self {
        Self { lease, shared: Shared(Arc::clone(pool.shared())) }
    }

    pub(crate) fn succeeded(&mut self, remaining: Option<u64>) {
        self.lease.succeeded(&self.shared.0, remaining);
    }

    pub(crate) fn rejected(
        &mut self,
        reason: Reason,
        status: Option<http::StatusCode>,
        now: &mut Now,
    ) -> Rejection {
        let won = self.lease.rejected(&self.shared.0, reason, status, now);
        let state = self.lease.generation.state();
        let out = !state.is_closed() && !state.is_alive();
        let rest = if out { self.shared.0.remaining(state.until(), now.get()) } else { secs(0) };
        Rejection { won, rest }
    }

    pub(crate) fn limited(&mut self, model: Option<&str>, delay: Option<Duration>, now: &mut Now) {
        self.lease.limited(&self.shared.0, model, delay, now);
    }

    pub(crate) fn out_of_quota(
        &mut self,
        delay: Option<Duration>,
        status: Option<http::StatusCode>,
        now: &mut Now,
    ) {
        self.lease.out_of_quota(&self.shared.0, delay, status, now);
    }

    pub(crate) fn model_missing(&mut self, model: &str, delay: Option<Duration>, now: &mut Now) {
        self.lease.model_missing(&self.shared.0, model, delay, now);
    }

    pub(crate) fn healthy_failure(&mut self) {
        self.lease.healthy_failure(&self.shared.0);
    }

    pub(crate) fn apply(&self, parts: &mut http::request::Parts) -> Result<(), crate::Code> {
        self.lease.apply(&self.shared.0, parts)
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.lease.is_under_way(&self.shared.0)
    }
}

/// A pool and a clock that stands until it is moved.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) now: Instant,
}

impl Bench {
    pub(crate) fn new(builder: PoolBuilder) -> Self {
        let pool = builder.build().unwrap();
        // A fraction of a millisecond after the build, which makes no difference.
        Self { pool, now: Instant::now() + secs(1) }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn clock(&self) -> Now {
        Now::at(self.now)
    }

    pub(crate) fn query(&self, query: &Query<'_>) -> Result<Leased, Unavailable> {
        self.pool.pick(query, &mut self.clock()).map(|lease| Leased::new(&self.pool, lease))
    }

    pub(crate) fn pick(&self) -> Result<Leased, Unavailable> {
        self.query(&ANY)
    }

    pub(crate) fn pinned(&self, id: &str) -> Result<Leased, Unavailable> {
        self.query(&Query { pin: Some(Pin::Strict(id)), ..ANY })
    }

    /// The accounts that serve the next requests; `-` is none.
    pub(crate) fn order(&self, n: usize) -> Vec<String> {
        let mut order = Vec::new();
        for _ in 0..n {
            order.push(match self.pick() {
                Ok(mut lease) => {
                    lease.succeeded(None);
                    lease.id().to_string()
                }
                Err(_) => "-".to_owned(),
            });
        }
        order
    }

    pub(crate) fn state(&self, id: &str) -> State {
        let view = crate::pool::view::view(self.pool.shared(), &mut self.clock());
        view.accounts.iter().find(|account| *account.id == *id).unwrap().state
    }
}

/// Leaves out accounts by number.
pub(crate) struct Without(pub(crate) Vec<u32>);

impl Avoid for Without {
    fn avoids(&self, account: u32, _: u64, _: Option<u32>) -> bool {
        self.0.contains(&account)
    }
}
