//! Whatever persons do while sources are asked, and answers come in.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::support::*;
use crate::pool::select::query::{Pin, Query};
use crate::{
    classify::Reason,
    clock::Now,
    credential::{
        Account, Credential, Expires, RefreshReason, RefreshWindows, SourceError, Token,
        TokenFuture, TokenSource,
    },
    pool::*,
};

const IDS: [&str; 3] = ["a", "b", "c"];

/// The response of a source to a call, after so many milliseconds.
#[derive(Clone, Copy, Debug)]
enum Play {
    Give(Option<u64>),
    /// The token that it gave last.
    Same,
    Fail,
    Over,
    Hang,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Refused(Reason),
    Limited(Option<u64>),
    Quota,
    Transient,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Call {
        pin: Option<usize>,
        flight: u64,
        end: End,
    },
    Retire(usize),
    Revive(usize),
    Replace(usize, Option<u64>),
    /// The account is removed, and another put in under its name.
    Insert(usize),
    Rest(usize, u64),
    Invalidate(usize, Reason),
    Pass(u64),
}

#[derive(Default)]
struct Server {
    plays: Vec<(u64, Play)>,
    next: usize,
    asked: u64,
    last: HashMap<usize, String>,
    minting_source: HashMap<usize, u32>,
    /// When the question was asked that a token came of, counted in questions.
    minted: HashMap<String, u64>,
    /// How many questions there had been when a person put in a token.
    replaced: HashMap<usize, u64>,
    out: HashSet<usize>,
    /// Until when an account is to be left alone.
    cooldowns: HashMap<usize, Instant>,
    groups: usize,
    /// How many requests have not got an account, nor heard that there is none.
    waiting: usize,
    wrong: Vec<String>,
}

impl Server {
    fn cooldowns(&mut self, at: usize, time: Duration) {
        let until = Instant::now() + time;
        let rest = self.cooldowns.entry(at).or_insert(until);
        *rest = until.max(*rest);
    }

    /// A person has put something in: nothing from before counts any more. A new group.
    fn begins(&mut self, at: usize) -> usize {
        self.out.remove(&at);
        self.cooldowns.remove(&at);
        self.replaced.insert(at, self.asked);
        self.groups += 1;
        100 + self.groups
    }

    /// Which account is used, which may be.
    fn sends(&mut self, lease: &Leased, pinned: bool) -> usize {
        let token = String::from_utf8(lease.generation.credential.token().to_vec()).unwrap();
        let at = IDS.iter().position(|id| **id == **lease.id()).unwrap();
        if self.out.contains(&at) {
            self.wrong.push(format!("{token} of an account that is out is sent"));
        }
        let replaced = self.replaced.get(&at);
        if self.minted.get(&token).zip(replaced).is_some_and(|(asked, by)| asked <= by) {
            self.wrong.push(format!("{token} has displaced what a person put in"));
        }
        let left =
            self.cooldowns.get(&at).map(|rest| rest.saturating_duration_since(Instant::now()));
        // Times are counted in milliseconds.
        if !pinned && left.is_some_and(|left| left > Duration::from_millis(1)) {
            self.wrong.push(format!("{at} rests for {left:?}, and serves: {lease:?}"));
        }
        at
    }
}

type Shared = Arc<Mutex<Server>>;

struct Login {
    account: usize,
    group: usize,
    mints: bool,
    server: Shared,
}

struct Asking(usize, Shared);

impl Drop for Asking {
    fn drop(&mut self) {
        *self.1.lock().unwrap().minting_source.entry(self.0).or_default() -= 1;
    }
}

impl TokenSource for Login {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        let shared = self.server.clone();
        let mut server = shared.lock().unwrap();
        let minting_source = server.minting_source.entry(self.group).or_default();
        *minting_source += 1;
        if *minting_source > 1 {
            let group = self.group;
            server.wrong.push(format!("two of group {group} are asking"));
        }
        if server.out.contains(&self.account) {
            let account = self.account;
            server.wrong.push(format!("{account} is out, and its source is asked"));
        }
        let (takes, play) = server.plays[server.next % server.plays.len()];
        (server.next, server.asked) = (server.next + 1, server.asked + 1);
        let (asked, account) = (server.asked, self.account);
        drop(server);
        let minting_source = Asking(self.group, self.server.clone());
        Box::pin(async move {
            let _asking = minting_source;
            sleep(Duration::from_millis(takes)).await;
            let mut server = shared.lock().unwrap();
            let fresh = format!("minted-{account}-{asked}");
            match play {
                Play::Give(left) => {
                    server.minted.insert(fresh.clone(), asked);
                    server.last.insert(account, fresh.clone());
                    let token = Token::new(fresh);
                    Ok(match left {
                        Some(left) => token.expires_in(Duration::from_millis(left)),
                        None => token,
                    })
                }
                Play::Same => {
                    let last = server.last.get(&account).cloned();
                    if let Some(last) = &last {
                        let known = server.minted.entry(last.clone()).or_default();
                        *known = asked.max(*known);
                    }
                    last.map(Token::new).ok_or_else(|| SourceError::transient("nothing yet"))
                }
                Play::Fail => Err(SourceError::transient("down")),
                Play::Over => Err(SourceError::terminal(Reason::Revoked, "over")),
                Play::Hang => {
                    drop(server);
                    std::future::pending().await
                }
            }
        })
    }

    fn can_renew_after(&self, reason: Reason) -> bool {
        self.mints || reason == Reason::Expired
    }
}

fn account(at: usize, group: usize, mints: bool, server: &Shared) -> Account {
    let login = Login { account: at, group, mints, server: server.clone() };
    Account::from_source(IDS[at], login).group(format!("g{group}"))
}

/// A pool, and those who bring it its tokens.
#[derive(Clone)]
struct World {
    pool: Pool,
    server: Shared,
}

impl World {
    fn new(groups: &[usize], mints: &[bool], plays: Vec<(u64, Play)>) -> Self {
        let server = Arc::new(Mutex::new(Server { plays, ..Server::default() }));
        let accounts = groups.iter().zip(mints).enumerate().map(|(at, (group, mints))| {
            let windows =
                RefreshWindows::fixed(Duration::from_millis(500), Duration::from_millis(200));
            account(at, *group, *mints, &server).refresh_windows(windows)
        });
        let pool = Pool::builder()
            .any_origin()
            .accounts(accounts)
            .refresh_deadline(secs(2))
            .ready_within(secs(5))
            .reporter(|_: &crate::report::Event| ());
        Self { pool: pool.build().unwrap(), server }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// The result of a request that waits as long as it may.
    async fn get(&self, pin: Option<usize>) -> Option<Leased> {
        let pick = |last| {
            let query = Query { pin: pin.map(|at| Pin::Strict(IDS[at])), last, ..ANY };
            self.pool.pick(&query, &mut Now::unread()).map(|lease| Leased::new(&self.pool, lease))
        };
        let mut changed = Some(self.pool.wait_for_change(&mut None, None));
        loop {
            match (pick(false), changed.take()) {
                (Ok(lease), _) => return Some(lease),
                (Err(none), Some(next)) if none.is_under_way() => changed = next.await,
                (Err(_), _) => return pick(true).ok(),
            }
        }
    }

    async fn call(self, pin: Option<usize>, flight: u64, end: End) {
        self.server().waiting += 1;
        let lease = self.get(pin).await;
        self.server().waiting -= 1;
        let Some(mut lease) = lease else { return };
        let at = self.server().sends(&lease, pin.is_some());
        lease.sent();
        sleep(Duration::from_millis(flight)).await;
        let mut now = Now::unread();
        match end {
            End::Success => lease.succeeded(None),
            End::Refused(reason) => {
                lease.rejected(reason, None, &mut now);
            }
            End::Limited(delay) => {
                let delay = delay.map(Duration::from_millis);
                // What is learned of an old credential counts no more.
                if let Some(delay) = delay.filter(|_| !lease.generation.state().is_closed()) {
                    self.server().cooldowns(at, delay);
                }
                lease.limited(None, delay, &mut now);
            }
            End::Quota => lease.out_of_quota(None, None, &mut now),
            End::Transient => lease.inconclusive(),
            End::Dropped => {}
        }
    }

    async fn act(&self, op: Op) {
        match op {
            Op::Call { pin, flight, end } => {
                drop(tokio::spawn(self.clone().call(pin, flight, end)));
            }
            Op::Retire(at) => {
                self.server().out.insert(at);
                assert!(self.pool.retire(IDS[at]));
            }
            Op::Revive(at) => {
                self.server().out.remove(&at);
                self.server().cooldowns.remove(&at);
                assert!(self.pool.revive(IDS[at]));
            }
            Op::Replace(at, left) => {
                self.server().begins(at);
                let credential = Credential::bearer(format!("by-hand-{at}")).unwrap();
                let left = left.map(Duration::from_millis).map_or(Expires::Never, Expires::In);
                self.pool.replace_until(IDS[at], credential, left).unwrap();
            }
            Op::Insert(at) => {
                assert!(self.pool.remove(IDS[at]));
                self.look("it was removed");
                let group = self.server().begins(at);
                self.pool.insert(account(at, group, true, &self.server)).unwrap();
            }
            Op::Rest(at, time) => {
                let time = Duration::from_millis(time);
                if self.pool.cool_down(IDS[at], None, time) {
                    self.server().cooldowns(at, time);
                }
            }
            Op::Invalidate(at, reason) => {
                self.pool.invalidate(IDS[at], reason);
            }
            Op::Pass(time) => sleep(Duration::from_millis(time)).await,
        }
        self.look(op);
    }

    /// The conditions that hold at any time.
    fn look(&self, after: impl std::fmt::Debug) {
        let roster = self.pool.shared().roster.load();
        let alive = roster.entries.iter().filter(|entry| entry.state().is_alive()).count();
        if self.pool.shared().alive() != i64::try_from(alive).unwrap() {
            self.server().wrong.push(format!("not all that are alive are counted after {after:?}"));
        }
        for account in self.pool.view().accounts {
            if account.usable_in.is_some_and(|until| until > secs(24 * 3600)) {
                self.server().wrong.push(format!("{account:?} after {after:?}"));
            }
        }
    }

    /// From here on all is well: who is not out comes back, whatever has happened.
    async fn heal(&self) {
        self.server().plays = vec![(0, Play::Give(Some(3_600_000)))];
        for _ in 0..60 {
            sleep(secs(1800)).await;
            for at in 0..IDS.len() {
                if let Some(mut lease) = self.get(Some(at)).await {
                    self.server().sends(&lease, true);
                    lease.sent();
                    lease.succeeded(None);
                }
            }
            self.look("all is well");
        }
        for (at, account) in self.pool.view().accounts.iter().enumerate() {
            let at = IDS.iter().position(|id| **id == *account.id).unwrap_or(at);
            let retired = account.state == State::Retired;
            if self.server().out.remove(&at) && !retired {
                self.server().wrong.push(format!("{at} was retired, and is back"));
            }
            // By hand, or because its source has said that only a person can help.
            if retired {
                self.pool.revive(IDS[at]);
            }
            if self.get(Some(at)).await.is_none() {
                self.server().wrong.push(format!("{at} is lost: {account:?}"));
            }
        }
    }
}

async fn run(
    groups: Vec<usize>,
    mints: Vec<bool>,
    plays: Vec<(u64, Play)>,
    ops: Vec<Op>,
) -> Vec<String> {
    let world = World::new(&groups, &mints, plays);
    for op in ops {
        world.act(op).await;
    }
    // All who wait are released; what is late is given up.
    sleep(secs(120)).await;
    world.look("all have ended");
    if world.server().waiting > 0 {
        world.server().wrong.push("somebody waits for ever".into());
    }
    world.heal().await;
    std::mem::take(&mut world.server().wrong)
}

fn play() -> impl Strategy<Value = (u64, Play)> {
    let left = prop_oneof![Just(None), (300_u64..3_000).prop_map(Some), Just(Some(60_000))];
    let play = prop_oneof![
        6 => left.prop_map(Play::Give),
        2 => Just(Play::Same),
        2 => Just(Play::Fail),
        1 => Just(Play::Hang),
        1 => Just(Play::Over),
    ];
    (prop_oneof![Just(0), 0_u64..300, 0_u64..8_000], play)
}

fn op() -> impl Strategy<Value = Op> {
    let reason =
        || prop_oneof![Just(Reason::Invalid), Just(Reason::Revoked), Just(Reason::Expired)];
    let end = prop_oneof![
        3 => Just(End::Success),
        4 => reason().prop_map(End::Refused),
        1 => prop::option::of(0_u64..100_000).prop_map(End::Limited),
        1 => Just(End::Quota),
        1 => Just(End::Transient),
        1 => Just(End::Dropped),
    ];
    let flight = prop_oneof![Just(0), 0_u64..4_000];
    let pin = prop::option::of(0_usize..3);
    prop_oneof![
        10 => (pin, flight, end).prop_map(|(pin, flight, end)| Op::Call { pin, flight, end }),
        1 => (0_usize..3).prop_map(Op::Retire),
        1 => (0_usize..3).prop_map(Op::Revive),
        1 => (0_usize..3, prop::option::of(0_u64..3_000)).prop_map(|(at, left)| Op::Replace(at, left)),
        1 => (0_usize..3).prop_map(Op::Insert),
        1 => (0_usize..3, 0_u64..10_000_000).prop_map(|(at, time)| Op::Rest(at, time)),
        1 => (0_usize..3, reason()).prop_map(|(at, reason)| Op::Invalidate(at, reason)),
        6 => prop_oneof![0_u64..300, 0_u64..3_000, 0_u64..20_000, Just(3_700_000)].prop_map(Op::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn operator_changes_stand_and_every_account_heals(
        groups in prop::collection::vec(0_usize..2, 3),
        mints in prop::collection::vec(any::<bool>(), 3),
        plays in prop::collection::vec(play(), 1..10),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let wrong = runtime.block_on(run(groups, mints, plays, ops));
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
