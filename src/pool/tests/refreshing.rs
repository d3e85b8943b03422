//! Any number of callers, sources that do anything, and a login server that revokes all that it has
//! given when a refresh token is used twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::{Instant, sleep, timeout};

use super::support::*;
use crate::{
    classify::{Code, Reason},
    clock::Now,
    credential::{
        Account, RefreshReason, RefreshWindows, SourceError, Token, TokenFuture, TokenSource,
    },
    pool::{Selection, *},
};

/// The response of a source to a call, and its duration in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Play {
    Give { left: u64 },
    Fail,
    Over,
    Hang,
    Panic,
}

/// The action of a caller.
#[derive(Clone, Copy, Debug)]
struct Caller {
    at: u64,
    /// How long its request is in flight.
    flight: u64,
    /// It is dropped after so long.
    patience: Option<u64>,
}

#[derive(Default)]
struct Server {
    plays: Vec<(u64, Play)>,
    next: usize,
    /// The refresh token of each account, and those that were used up.
    refresh: HashMap<usize, u64>,
    used: HashSet<(usize, u64)>,
    /// When each token that was given ends, and the newest of each account.
    ends: HashMap<String, Instant>,
    newest: HashMap<usize, (String, Instant)>,
    minting_source: HashMap<usize, u32>,
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<Server>>;

struct Login {
    account: usize,
    group: usize,
    server: Shared,
}

/// Ends the question, whatever becomes of it.
struct Asking(usize, Shared);

impl Drop for Asking {
    fn drop(&mut self) {
        *self.1.lock().unwrap().minting_source.entry(self.0).or_default() -= 1;
    }
}

impl TokenSource for Login {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        let server = self.server.clone();
        let (takes, play) = {
            let mut server = server.lock().unwrap();
            let minting_source = server.minting_source.entry(self.group).or_default();
            *minting_source += 1;
            if *minting_source > 1 {
                server.wrong.push(format!("two of group {} are asking", self.group));
            }
            let play = server.plays[server.next % server.plays.len()];
            server.next += 1;
            play
        };
        let minting_source = Asking(self.group, self.server.clone());
        Box::pin(async move {
            let _asking = minting_source;
            sleep(Duration::from_millis(takes)).await;
            match play {
                Play::Give { left } => Ok(server.lock().unwrap().give(self.account, left)),
                Play::Fail => Err(SourceError::transient("down")),
                Play::Over => Err(SourceError::terminal(Reason::Revoked, "over")),
                Play::Hang => std::future::pending().await,
                Play::Panic => panic!("a source that panics"),
            }
        })
    }
}

impl Server {
    fn give(&mut self, account: usize, left: u64) -> Token {
        let refresh = self.refresh.entry(account).or_default();
        let used = *refresh;
        *refresh += 1;
        if !self.used.insert((account, used)) {
            self.wrong.push(format!("refresh token {used} of {account} is used twice"));
        }
        let token = format!("token-{account}-{}", used + 1);
        let left = Duration::from_millis(left);
        self.ends.insert(token.clone(), Instant::now() + left);
        self.newest.insert(account, (token.clone(), Instant::now()));
        Token::new(token).expires_in(left)
    }

    /// Whether the upstream takes a token: the newest of its account, or any that has not ended.
    fn takes(&self, token: &str) -> bool {
        self.ends.get(token).is_some_and(|end| Instant::now() < *end)
    }
}

async fn call(pool: Pool, server: Shared, caller: Caller) {
    sleep(Duration::from_millis(caller.at)).await;
    let start = Instant::now();
    let mut changed = Some(pool.wait_for_change(&mut None, None));
    let mut lease = loop {
        match (
            pool.pick(&ANY, &mut Now::unread()).map(|lease| Leased::new(&pool, lease)),
            changed.take(),
        ) {
            (Ok(lease), _) => break lease,
            (Err(none), Some(next)) if none.is_under_way() => changed = next.await,
            (Err(none), _) => {
                let fits = matches!(
                    none.code,
                    Code::NotReady
                        | Code::CredentialRevoked
                        | Code::CredentialExpired
                        | Code::CredentialInvalid
                );
                if !fits || start.elapsed() > secs(21) {
                    let wrong = format!("{none:?} after {:?}", start.elapsed());
                    server.lock().unwrap().wrong.push(wrong);
                }
                return;
            }
        }
    };
    let token = String::from_utf8(lease.generation.credential.token().to_vec()).unwrap();
    if !server.lock().unwrap().takes(&token) {
        server.lock().unwrap().wrong.push(format!("{token} is sent, and known to be dead"));
    }
    lease.sent();
    sleep(Duration::from_millis(caller.flight)).await;
    let taken = server.lock().unwrap().takes(&token);
    if taken {
        lease.succeeded(None);
    } else {
        lease.rejected(Reason::Expired, None, &mut Now::unread());
    }
}

async fn run(groups: Vec<usize>, plays: Vec<(u64, Play)>, callers: Vec<Caller>) -> Vec<String> {
    let server = Arc::new(Mutex::new(Server { plays, ..Server::default() }));
    let mut builder = Pool::builder()
        .any_origin()
        .selection(Selection::RoundRobin)
        .ready_within(secs(20))
        .reporter(|_: &crate::report::Event| ());
    for (account, group) in groups.iter().enumerate() {
        let login = Login { account, group: *group, server: server.clone() };
        let account = Account::from_source(format!("account-{account}"), login);
        let windows = RefreshWindows::fixed(Duration::from_millis(500), Duration::from_millis(100));
        builder = builder.account(account.group(format!("g{group}")).refresh_windows(windows));
    }
    let pool = builder.build().unwrap();
    let good = watch_good(&pool, &server);
    let calls = callers.iter().map(|caller| {
        let call = call(pool.clone(), server.clone(), *caller);
        let patience = Duration::from_millis(caller.patience.unwrap_or(1_000_000));
        tokio::spawn(async move { timeout(patience, call).await.is_ok() })
    });
    let all: Vec<_> = calls.collect();
    let longest = timeout(secs(2_000), futures_util::future::join_all(all)).await;
    good.abort();
    let mut wrong = std::mem::take(&mut server.lock().unwrap().wrong);
    if longest.is_err() {
        wrong.push("somebody waits for ever".into());
    }
    wrong
}

/// A token that is good, and the newest that was given, is not displaced by anything.
fn watch_good(pool: &Pool, server: &Shared) -> tokio::task::JoinHandle<()> {
    let (pool, server) = (pool.clone(), server.clone());
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(50)).await;
            let mut server = server.lock().unwrap();
            for (account, (token, since)) in server.newest.clone() {
                let left = server.ends[&token].saturating_duration_since(Instant::now());
                let roster = pool.shared().roster.load();
                let (_, entry) = roster.find(&format!("account-{account}")).unwrap();
                let current = entry.current.load();
                let there = current.credential.token() == token.as_bytes();
                // Not just given, nor so near its end that it is being replaced.
                let settled = since.elapsed() > Duration::from_millis(5);
                if settled
                    && left > Duration::from_millis(600)
                    && (!there || !current.state().may_be_sent())
                {
                    let state = current.state();
                    server
                        .wrong
                        .push(format!("{token}, good for {left:?}, is displaced: {state:?}"));
                }
            }
        }
    })
}

fn play() -> impl Strategy<Value = (u64, Play)> {
    let play = prop_oneof![
        6 => prop_oneof![Just(1_000), 700_u64..3_000, Just(60_000)].prop_map(|left| Play::Give { left }),
        2 => Just(Play::Fail),
        1 => Just(Play::Hang),
        1 => Just(Play::Panic),
    ];
    let plays = prop_oneof![20 => play, 1 => Just(Play::Over)];
    (prop_oneof![Just(0), 0_u64..300, 0_u64..4_000], plays)
}

fn caller() -> impl Strategy<Value = Caller> {
    let at = prop_oneof![Just(0), 0_u64..10_000];
    let patience = prop::option::weighted(0.3, 0_u64..2_000);
    (at, prop_oneof![Just(0), 0_u64..2_500], patience).prop_map(|(at, flight, patience)| Caller {
        at,
        flight,
        patience,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn refreshes_are_serialised_by_group_and_release_all_requests(
        groups in prop::collection::vec(0_usize..3, 1..6),
        plays in prop::collection::vec(play(), 1..12),
        callers in prop::collection::vec(caller(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let wrong = runtime.block_on(run(groups, plays, callers));
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Ten thousand requests over a hundred accounts whose tokens live for a second.
#[tokio::test(start_paused = true)]
async fn dead_token_is_never_sent() {
    let server = Shared::default();
    server.lock().unwrap().plays = vec![(20, Play::Give { left: 1_000 })];
    let accounts = (0..100).map(|account| {
        let login = Login { account, group: account, server: server.clone() };
        Account::from_source(format!("account-{account}"), login)
    });
    let pool = Pool::builder().any_origin().accounts(accounts).build().unwrap();
    let calls = (0..10_000).map(|n| {
        let caller = Caller { at: n % 5_000, flight: 0, patience: None };
        tokio::spawn(call(pool.clone(), server.clone(), caller))
    });
    futures_util::future::join_all(calls).await;
    let wrong = std::mem::take(&mut server.lock().unwrap().wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let sent: u64 = pool.view().accounts.iter().map(|account| account.counts.succeeded).sum();
    assert_eq!(sent, 10_000);
}
