//! The locks that a request with a fresh token needs: none, while others hold all of them.

use std::{sync::mpsc, thread, time::Duration};

use tokio::time::Instant;

use super::support::*;
use crate::{
    clock::Now,
    credential::{Account, RefreshReason, SourceError, Token},
    pool::*,
};

#[tokio::test(start_paused = true)]
async fn fresh_token_is_served_without_a_lock() {
    let account = Account::from_source("alice", |_: RefreshReason| async {
        Ok::<_, SourceError>(Token::new("tok-1").expires_in(secs(3600)))
    });
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    pool.wait_ready().await.unwrap();
    let shared = pool.shared();
    let entry = shared.roster.load().entries[0].clone();
    let now = Instant::now() + secs(60);
    let (done, heard) = mpsc::channel();

    // All that a pool ever locks, held until the request is over, or is not.
    let admin = crate::sync::lock(&shared.registry);
    let timers = shared.timers.hold();
    let flight = entry.account.source.as_ref().unwrap().flight();
    let served = entry.current.load_full().model_cooldowns(|_| {
        let pool = pool.clone();
        thread::spawn(move || {
            for _ in 0..3 {
                let mut lease = pool
                    .pick(&ANY, &mut Now::at(now))
                    .map(|lease| Leased::new(&pool, lease))
                    .unwrap();
                lease.sent();
                lease.succeeded(Some(9));
            }
            done.send(()).unwrap();
        });
        heard.recv_timeout(Duration::from_secs(10))
    });
    drop((admin, timers, flight));
    assert_eq!(served, Ok(()), "it waits for a lock");
    assert_eq!(pool.view().accounts[0].counts.succeeded, 3);
}

/// Usually on another thread: the first search calls the source, and finds no account.
#[tokio::test(start_paused = true)]
async fn token_that_arrives_during_a_search_is_found() {
    let account = Account::from_source("alice", |_: RefreshReason| async {
        Ok::<_, SourceError>(Token::new("tok-1"))
    });
    let pool = Pool::builder().any_origin().account(account).build().unwrap();
    let (shared, mut now) = (pool.shared(), Now::unread());
    let roster = shared.roster.load_full();
    let mut search = crate::pool::select::Search::new(shared, &roster, &ANY, &mut now);
    assert!(search.take(0, &roster.entries[0]).is_none());
    pool.wait_ready().await.unwrap();
    let lease = search.unavailable(&roster.entries).unwrap();
    assert_eq!((&**lease.id(), lease.generation()), ("alice", 1));
}
