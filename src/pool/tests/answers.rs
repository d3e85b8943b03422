//! The answers when no account can serve.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::time::sleep;

use super::support::*;
use crate::{
    classify::{Code, Reason},
    credential::{Expires, RefreshReason, TokenFuture, TokenSource},
    pool::{
        Pool,
        select::{Query, Unavailable},
    },
};

/// A source that never answers, and counts how often it must say what it could do.
#[derive(Clone, Default)]
struct Counted {
    asked: Arc<AtomicUsize>,
    mints: Arc<AtomicBool>,
}

impl TokenSource for Counted {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(std::future::pending())
    }

    fn can_renew_after(&self, _: Reason) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.mints.load(Ordering::SeqCst)
    }
}

fn model(model: &'static str) -> Query<'static> {
    Query { model: Some(model), ..ANY }
}

fn said(bench: &Bench, query: &Query<'_>) -> (Code, Option<u64>) {
    let none = bench.query(query).unwrap_err();
    (none.code, none.retry_after.map(|time| time.as_secs()))
}

#[test]
fn answer_of_a_dead_pool_is_kept_until_a_change() {
    for reason in REASONS {
        for mints in [false, true] {
            let source = Counted::default();
            let account = |id| account(id).source(source.clone()).expires(Expires::In(secs(100)));
            let list = ["a", "b", "c"].map(account);
            let mut bench = Bench::new(Pool::builder().any_origin().accounts(list));
            for id in ["a", "b", "c"] {
                bench.pinned(id).unwrap().rejected(reason, None, &mut bench.clock());
            }
            source.mints.store(mints, Ordering::SeqCst);
            // They have ended, and no probe is due.
            bench.pass(secs(200));
            let asked = || source.asked.swap(0, Ordering::SeqCst);
            asked();
            let first = bench.pick().unwrap_err();
            assert_eq!((first.code, first.can_mint), (Code::from(reason), mints));
            assert_eq!(first.expired_at.is_some(), reason == Reason::Expired);
            assert!(asked() > 0, "{reason:?}");
            for query in [ANY, model("m"), ANY] {
                assert_eq!(bench.query(&query).unwrap_err(), first);
            }
            assert_eq!(asked(), 0, "{reason:?}, {mints}");
            // A change, and all are looked at again.
            assert!(bench.pool.revive("c") && bench.pool.retire("c"));
            assert_eq!(bench.pick().unwrap_err().code, Code::from(reason));
            assert!(asked() > 0, "{reason:?}");
        }
    }
}

#[test]
fn answer_about_one_account_is_not_kept_for_all() {
    let bench = Bench::new(accounts(&["a", "b"]));
    bench.pinned("a").unwrap().rejected(Reason::Revoked, None, &mut bench.clock());
    bench.pinned("b").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    for _ in 0..2 {
        assert_eq!(bench.pinned("a").unwrap_err().code, Code::CredentialRevoked);
        assert_eq!(said(&bench, &ANY), (Code::PoolLimited, Some(60)));
    }
}

#[test]
fn answer_about_one_model_is_not_kept_for_another() {
    let only = account("a").models(["small"]);
    let bench = Bench::new(Pool::builder().any_origin().account(only));
    bench.pick().unwrap().rejected(Reason::Revoked, None, &mut bench.clock());
    for _ in 0..2 {
        assert_eq!(said(&bench, &model("big")), (Code::PoolEmpty, None));
        assert_eq!(said(&bench, &model("small")), (Code::CredentialRevoked, None));
    }
    let bench = Bench::new(accounts(&["a"]));
    for (model, rest) in [("big", 60), ("small", 30)] {
        bench.pick().unwrap().limited(Some(model), Some(secs(rest)), &mut bench.clock());
    }
    for _ in 0..2 {
        assert_eq!(said(&bench, &model("big")), (Code::PoolLimited, Some(60)));
        assert_eq!(said(&bench, &model("small")), (Code::PoolLimited, Some(30)));
    }
}

#[test]
fn avoided_account_hides_no_cooldown_of_others() {
    let bench = Bench::new(accounts(&["a", "b"]));
    let avoid = Without(vec![bench.pinned("a").unwrap().uid()]);
    bench.pinned("b").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    let query = Query { avoid: Some(&avoid), ..ANY };
    assert_eq!(said(&bench, &query), (Code::PoolLimited, Some(60)));
    // Nor when `a` is hidden for an instant.
    bench.pool.shared().roster.load().usable.clear(0);
    assert_eq!(said(&bench, &query), (Code::PoolLimited, Some(60)));
}

/// Between two steps of another thread, a hint may be behind the state.
#[test]
fn account_that_the_index_misses_is_found() {
    let bench = Bench::new(accounts(&["a", "b"]));
    bench.pinned("a").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    bench.pool.shared().roster.load().usable.clear(1);
    assert_eq!(&**bench.pick().unwrap().id(), "b");
}

#[tokio::test(start_paused = true)]
async fn expiry_time_is_given_only_when_it_is_the_reason() {
    let ends = |id| account(id).expires(Expires::In(secs(50)));
    let pool = Pool::builder().any_origin().accounts([ends("a"), ends("b")]).build().unwrap();
    let uid = pool
        .pick(&ANY, &mut crate::clock::Now::unread())
        .map(|lease| Leased::new(&pool, lease))
        .unwrap()
        .uid();
    sleep(secs(51)).await;
    let of = |number, reason| -> Unavailable { pool.rejection("a", uid, number, reason) };
    assert!(of(1, Reason::Expired).expired_at.is_some());
    assert_eq!(of(1, Reason::Invalid).expired_at, None);
    assert_eq!(of(2, Reason::Expired).expired_at, None, "that is of another generation");
    let other = pool.rejection("b", uid, 1, Reason::Expired);
    assert_eq!(other, Unavailable::from(Code::CredentialExpired), "that is of another account");
}
