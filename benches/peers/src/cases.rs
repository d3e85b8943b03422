//! The cases and the stacks in each.

use std::sync::Arc;

use http::StatusCode;
use tower_failover::{Pool, Reason};

use crate::{
    measure::{Expect, Http, Subject},
    requests::{Model, Requests},
    stacks::{
        failover, keys::Keys, nested_tower, one_clone::OneClone, reqwest_middleware,
        tower_resilience, tower_retry::Transient,
    },
    upstream::Upstream,
};

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// The answers of the upstream to the attempts of one request.
    pub script: &'static [u16],
    pub size: usize,
    pub model: Model,
    pub fresh: bool,
    pub accounts: usize,
}

const OK: Case =
    Case { name: "ok", script: &[200], size: 1024, model: Model::First, fresh: false, accounts: 8 };

/// In the order of the table.
pub const CASES: [Case; 9] = [
    OK,
    Case { name: "ok-fresh", fresh: true, ..OK },
    Case { name: "nothing-to-resend", accounts: 1, ..OK },
    Case { name: "401-200", script: &[401, 200], ..OK },
    Case { name: "503-200", script: &[503, 200], ..OK },
    Case { name: "401-529-503-200", script: &[401, 529, 503, 200], ..OK },
    Case { name: "529-200-64k-first", script: &[529, 200], size: 64 << 10, ..OK },
    Case {
        name: "529-200-64k-last",
        script: &[529, 200],
        size: 64 << 10,
        model: Model::Last,
        ..OK
    },
    Case { name: "rejected", ..OK },
];

/// The case that is also measured with two threads.
pub const TWO_THREADS: Case = Case { name: "two-threads", ..OK };

/// The baseline of all stacks, and that of the reqwest stacks.
pub const BARE: &str = "bare";
pub const BARE_REQWEST: &str = "bare-reqwest";
pub const ONE_CLONE: &str = "one-clone";

/// A stack in a case.
pub struct Entry {
    pub stack: &'static str,
    /// Its baseline.
    pub bare: &'static str,
    pub subject: Box<dyn Subject>,
    /// Its own upstream.
    pub upstream: Upstream,
    /// Whether timers of zero make it slow to measure.
    pub naps: bool,
}

impl Entry {
    /// Returns a clone for another thread.
    pub fn twin(&self) -> Self {
        Self { subject: self.subject.twin(), ..*self }
    }
}

impl Case {
    pub fn requests(&self) -> Requests {
        Requests::new(self.size, self.model, self.fresh)
    }

    fn has(&self, status: u16) -> bool {
        self.script.contains(&status)
    }

    fn is_refused(&self) -> bool {
        self.name == "rejected"
    }

    /// Returns the number of calls before the accounts must be reset.
    pub fn segment(&self) -> usize {
        if self.has(401) { 7 } else { 20 }
    }

    /// Returns every stack with the functions of this case.
    pub fn entries(&self, runtime: &tokio::runtime::Runtime) -> Vec<Entry> {
        let mut all = Entries { case: *self, list: Vec::new() };
        let good = Expect::Status(StatusCode::OK);
        let ok: &[u16] = &[200];
        all.add(BARE, ok, |upstream| Http::boxed(upstream, good, || ()));
        all.add(ONE_CLONE, ok, |upstream| Http::boxed(OneClone::new(upstream), good, || ()));
        if self.is_refused() {
            all.add("tower-resilience", ok, |upstream| {
                let open = runtime.block_on(tower_resilience::open_breaker(upstream));
                Http::boxed(open, Expect::Error, || ())
            });
        } else {
            self.peers(&mut all, good);
        }
        self.ours(&mut all);
        all.list
    }

    fn peers(&self, all: &mut Entries, good: Expect) {
        let keys = || Arc::new(Keys::new(self.accounts));
        let revive = |keys: &Arc<Keys>| {
            let keys = keys.clone();
            move || keys.revive()
        };
        if !self.has(401) && !self.has(529) {
            all.add("tower-retry", self.script, |upstream| {
                Http::boxed(tower::retry::Retry::new(Transient::at_once(), upstream), good, || ())
            });
        }
        all.add("nested-tower", self.script, |upstream| {
            let keys = keys();
            Http::boxed(nested_tower::stack(upstream, &keys), good, revive(&keys))
        });
        all.add(BARE_REQWEST, &[200], |upstream| {
            reqwest_middleware::Client::boxed(reqwest_middleware::bare(upstream), || ())
        });
        all.add("reqwest-middleware", self.script, |upstream| {
            let keys = keys();
            let client = reqwest_middleware::stack(upstream, &keys);
            reqwest_middleware::Client::boxed(client, revive(&keys))
        });
        all.add("tower-resilience", self.script, |upstream| {
            let keys = keys();
            Http::boxed(tower_resilience::stack(upstream, &keys), good, revive(&keys))
        });
    }

    fn ours(&self, all: &mut Entries) {
        let once = self.accounts == 1;
        let status = if self.is_refused() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        let expect = Expect::Status(status);
        all.add("failover", self.script, |upstream| {
            let pool = self.pool();
            let service = match once {
                true => failover::fused_once(upstream, &pool),
                false => failover::fused(upstream, &pool),
            };
            Http::boxed(service, expect, self.revive(&pool))
        });
        all.add("failover-stacked", self.script, |upstream| {
            let pool = self.pool();
            match once {
                true => {
                    let service = failover::stacked_once(upstream, &pool);
                    Http::boxed(service, expect, self.revive(&pool))
                }
                false => {
                    let service = failover::stacked(upstream, &pool);
                    Http::boxed(service, expect, self.revive(&pool))
                }
            }
        });
    }

    fn pool(&self) -> Pool {
        let pool = failover::pool(self.accounts);
        for i in 0..self.accounts {
            if self.is_refused() {
                assert!(pool.invalidate(&format!("account-{i}"), Reason::Invalid));
            }
        }
        pool
    }

    fn revive(&self, pool: &Pool) -> impl FnMut() + Clone + Send + 'static + use<> {
        failover::revive(pool, if self.has(401) { self.accounts } else { 0 })
    }
}

struct Entries {
    case: Case,
    list: Vec<Entry>,
}

impl Entries {
    fn add(
        &mut self,
        stack: &'static str,
        script: &'static [u16],
        make: impl FnOnce(Upstream) -> Box<dyn Subject>,
    ) {
        let upstream = Upstream::new(script);
        let reqwest = matches!(stack, BARE_REQWEST | "reqwest-middleware");
        let naps = self.case.has(503) && matches!(stack, "reqwest-middleware" | "tower-resilience");
        let bare = if reqwest { BARE_REQWEST } else { BARE };
        self.list.push(Entry { stack, bare, subject: make(upstream), upstream, naps });
    }
}
