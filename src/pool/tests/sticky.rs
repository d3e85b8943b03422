use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::*;
use crate::pool::{Order, Pool, Selection, select::Query};

/// Who serves each key.
fn owners(bench: &Bench, keys: &BTreeSet<String>) -> BTreeMap<String, String> {
    let owner = |key: &String| {
        let query = Query { sticky: Some(key.as_bytes()), ..ANY };
        let mut lease = bench.query(&query).unwrap();
        lease.succeeded(None);
        (key.clone(), lease.id().to_string())
    };
    keys.iter().map(owner).collect()
}

fn bench<'a>(ids: impl IntoIterator<Item = &'a String>, choose: Selection, order: Order) -> Bench {
    let accounts = ids.into_iter().map(|id| account(id));
    Bench::new(Pool::builder().any_origin().accounts(accounts).selection(choose).order(order))
}

/// Every key of `before` that `moved` says nothing of is where it was.
fn only(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    moved: impl Fn(&str, &str) -> bool,
) -> Result<(), TestCaseError> {
    for (key, was) in before {
        let is = &after[key];
        prop_assert!(is == was || moved(was, is), "{} went from {} to {}", key, was, is);
    }
    Ok(())
}

const WAYS: [Selection; 3] = [Selection::RoundRobin, Selection::LeastInFlight, Selection::Weighted];

proptest! {
    #[test]
    fn account_that_comes_goes_or_cools_moves_only_its_own_keys(
        ids in prop::collection::btree_set("[!-~]{1,12}", 2..12),
        keys in prop::collection::btree_set("\\PC{1,16}", 1..60),
        who in any::<prop::sample::Index>(),
        way in prop::sample::select(&WAYS[..]),
    ) {
        let bench = bench(&ids, way, Order::Listed);
        let who = who.get(&ids.iter().cloned().collect::<Vec<_>>()).clone();
        let before = owners(&bench, &keys);
        prop_assert_eq!(&owners(&bench, &keys), &before, "it stays without a reason to move");

        bench.pinned(&who).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
        let resting = owners(&bench, &keys);
        only(&before, &resting, |was, is| was == who && is != who)?;
        prop_assert!(resting.values().all(|owner| *owner != who));

        // It makes no difference to the others why it is not there.
        prop_assert!(bench.pool.remove(&who));
        prop_assert_eq!(&owners(&bench, &keys), &resting);

        bench.pool.insert(account(&who)).unwrap();
        prop_assert_eq!(&owners(&bench, &keys), &before, "all of its own come back, and no other");

        // Longer than any of them.
        let newcomer = "newcomer-of-today";
        bench.pool.insert(account(newcomer)).unwrap();
        only(&before, &owners(&bench, &keys), |_, is| is == newcomer)?;
    }

    #[test]
    fn key_has_the_same_owner_in_every_pool_of_these_accounts(
        ids in prop::collection::btree_set("[a-z0-9]{1,8}", 1..12),
        keys in prop::collection::btree_set("\\PC{1,16}", 1..20),
        start in any::<prop::sample::Index>(),
    ) {
        let mut listed: Vec<_> = ids.iter().collect();
        listed.rotate_left(start.index(ids.len()));
        let (one, other) = (
            bench(&ids, Selection::RoundRobin, Order::ById),
            bench(listed, Selection::FillFirst, Order::Listed),
        );
        prop_assert_eq!(owners(&one, &keys), owners(&other, &keys));
    }
}

#[test]
fn removed_account_spreads_its_keys_over_the_others() {
    let ids: Vec<String> = (0..10).map(|i| format!("acct-{i}")).collect();
    let keys = (0..3000).map(|i| format!("{i}")).collect();
    let bench = bench(&ids, Selection::RoundRobin, Order::Listed);
    let before = owners(&bench, &keys);
    bench.pool.remove("acct-3");
    let after = owners(&bench, &keys);
    let mut heirs = BTreeMap::new();
    for key in keys.iter().filter(|key| before[*key] == "acct-3") {
        *heirs.entry(after[key].clone()).or_insert(0) += 1;
    }
    // About 300 keys among 9: 33 each.
    assert!(heirs.len() == 9 && heirs.values().all(|n| (10..80).contains(n)), "{heirs:?}");
}
