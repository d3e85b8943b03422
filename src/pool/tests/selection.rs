use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::support::*;
use crate::{
    classify::Reason,
    credential::Account,
    pool::{
        Order, Pool, Selection,
        index::{Bitset, weighted},
        select::Query,
    },
};

fn counts(order: &[String]) -> HashMap<&str, usize> {
    order.iter().fold(HashMap::new(), |mut counts, id| {
        *counts.entry(id.as_str()).or_default() += 1;
        counts
    })
}

fn weighted(weights: &[(&str, u32)]) -> Bench {
    let accounts = weights.iter().map(|(id, weight)| account(id).weight(*weight));
    Bench::new(Pool::builder().any_origin().accounts(accounts).selection(Selection::Weighted))
}

fn many(n: usize, choose: Selection) -> Bench {
    let accounts = (0..n).map(|i| account(&format!("a{i}")).weight(u32::from(i % 2 == 0) + 1));
    Bench::new(Pool::builder().any_origin().accounts(accounts).selection(choose))
}

#[test]
fn round_robin_takes_each_account_in_turn() {
    let bench = Bench::new(accounts(&["b", "a", "c"]));
    assert_eq!(bench.order(5), ["b", "a", "c", "b", "a"]);
    let bench = Bench::new(accounts(&["b", "a", "c"]).order(Order::ById));
    assert_eq!(bench.order(5), ["a", "b", "c", "a", "b"]);
}

#[test]
fn lower_tier_serves_only_when_no_higher_one_can() {
    let tiers = [("low", -1), ("high-1", 5), ("mid", 0), ("high-2", 5)];
    let accounts = tiers.iter().map(|(id, priority)| account(id).priority(*priority));
    for choose in [
        Selection::RoundRobin,
        Selection::FillFirst,
        Selection::Weighted,
        Selection::LeastInFlight,
        Selection::MostRemaining,
    ] {
        let mut bench =
            Bench::new(Pool::builder().any_origin().accounts(accounts.clone()).selection(choose));
        let served = |bench: &Bench| -> BTreeSet<String> { bench.order(8).into_iter().collect() };
        let first_only = choose == Selection::FillFirst;
        let high: &[&str] = if first_only { &["high-1"] } else { &["high-1", "high-2"] };
        assert!(served(&bench).iter().eq(high), "{choose:?}");
        for id in ["high-1", "high-2"] {
            bench.pinned(id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
        }
        assert!(served(&bench).iter().eq(&["mid"]), "{choose:?}");
        bench.pinned("mid").unwrap().rejected(Reason::Invalid, None, &mut bench.clock());
        assert!(served(&bench).iter().eq(&["low"]), "{choose:?}");
        bench.pass(secs(60));
        assert!(served(&bench).iter().eq(high), "{choose:?}");
    }
}

#[test]
fn fill_first_stays_with_the_first_usable_account() {
    let bench = Bench::new(accounts(&["b", "a", "c"]).selection(Selection::FillFirst));
    assert_eq!(bench.order(3), ["b", "b", "b"]);
    bench.pinned("b").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    assert_eq!(bench.order(2), ["a", "a"]);
}

#[test]
fn weights_are_exact_over_a_cycle_and_interleaved() {
    let bench = weighted(&[("a", 5), ("b", 3), ("c", 2), ("z", 0)]);
    let order = bench.order(100);
    assert_eq!(counts(&order), HashMap::from([("a", 50), ("b", 30), ("c", 20)]));
    assert!(order.windows(3).all(|three| three.iter().any(|id| id != "a")), "{order:?}");
}

#[test]
fn weights_are_exact_among_usable_accounts() {
    let bench = weighted(&[("a", 5), ("b", 3), ("c", 2), ("z", 0)]);
    bench.pinned("a").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    let order = bench.order(50);
    assert_eq!(counts(&order), HashMap::from([("b", 30), ("c", 20)]));
    for id in ["b", "c"] {
        bench.pinned(id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    }
    assert_eq!(bench.order(2), ["z", "z"], "a weight of 0 serves when nothing else can");
}

#[test]
fn weights_are_exact_in_a_large_tier() {
    let bench = many(200, Selection::Weighted);
    let order = bench.order(300);
    let counts = counts(&order);
    for i in 0..200 {
        assert_eq!(counts[&*format!("a{i}")], if i % 2 == 0 { 2 } else { 1 }, "a{i}");
    }
}

#[test]
fn least_in_flight_counts_until_the_body_ends() {
    let bench = Bench::new(accounts(&["a", "b", "c"]).selection(Selection::LeastInFlight));
    let held: Vec<_> = (0..3).map(|_| bench.pick().unwrap()).collect();
    let ids: Vec<_> = held.iter().map(|lease| lease.id().to_string()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let guard = held[1].in_flight_guard().unwrap();
    assert!(held[1].in_flight_guard().is_none(), "one request is in flight once");
    drop(held);
    // `b` still streams.
    assert_eq!(bench.pool.view().accounts[1].in_flight, 1);
    assert!(!bench.order(10).contains(&"b".to_owned()));
    drop(guard);
    assert!(bench.order(3).contains(&"b".to_owned()));
    assert!(bench.pool.view().accounts.iter().all(|account| account.in_flight == 0));
    let other = Bench::new(accounts(&["a"]));
    assert!(other.pick().unwrap().in_flight_guard().is_none());
}

#[test]
fn most_remaining_takes_the_account_with_most_left() {
    let bench = Bench::new(accounts(&["a", "b", "c"]).selection(Selection::MostRemaining));
    for (id, left) in [("a", 5), ("b", 70), ("c", 6)] {
        bench.pinned(id).unwrap().succeeded(Some(left));
    }
    assert_eq!(bench.order(2), ["b", "b"]);
    bench.pinned("b").unwrap().note_remaining(1);
    assert_eq!(bench.order(2), ["c", "c"]);
}

#[test]
fn most_remaining_takes_an_exhausted_account_last() {
    let bench = Bench::new(accounts(&["a", "b", "c"]).selection(Selection::MostRemaining));
    for (id, left) in [("a", 0), ("b", 1), ("c", 0)] {
        bench.pinned(id).unwrap().succeeded(Some(left));
    }
    assert_eq!(bench.order(2), ["b", "b"]);
}

#[test]
fn weights_are_exact_among_permitted_accounts() {
    let bench = weighted(&[("a", 5), ("b", 3), ("c", 2), ("z", 0)]);
    let without = Without(vec![bench.pinned("a").unwrap().uid()]);
    let query = Query { avoid: Some(&without), ..ANY };
    let order: Vec<_> = (0..50).map(|_| bench.query(&query).unwrap().id().to_string()).collect();
    assert_eq!(counts(&order), HashMap::from([("b", 30), ("c", 20)]));
}

#[test]
fn weight_of_zero_is_skipped_in_a_large_tier() {
    for heavy in [1, 150] {
        // Of those that can serve, only one has a weight.
        let accounts = (0..200).map(|i| account(&i.to_string()).weight(u32::from(i == heavy)));
        let builder =
            Pool::builder().any_origin().accounts(accounts).selection(Selection::Weighted);
        let bench = Bench::new(builder.account(account("far").weight(9)));
        bench.pinned("far").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
        let order = bench.order(40);
        assert_eq!(counts(&order), HashMap::from([(&*heavy.to_string(), 40)]));
        // While it rests, the others do serve.
        let heavy = heavy.to_string();
        bench.pinned(&heavy).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
        assert!(bench.pick().is_ok());
    }
}

#[test]
fn least_in_flight_is_exact_among_64() {
    let bench = many(64, Selection::LeastInFlight);
    for round in 1..4 {
        let held: Vec<_> = (0..64 * round).map(|_| bench.pick().unwrap()).collect();
        let order: Vec<_> = held.iter().map(|lease| lease.id().to_string()).collect();
        let counts = counts(&order);
        assert!(counts.len() == 64 && counts.values().all(|count| *count == round), "{counts:?}");
    }
}

#[test]
fn large_tier_is_sampled_at_any_position() {
    let tier = |name: &'static str, n: usize, priority| {
        (0..n).map(move |i| account(&format!("{name}-{i}")).priority(priority))
    };
    let accounts = tier("high", 700, 1).chain(tier("mid", 100, 0)).chain(tier("low", 100, -1));
    let builder =
        Pool::builder().any_origin().accounts(accounts).selection(Selection::LeastInFlight);
    let bench = Bench::new(builder);
    for i in 0..700 {
        let id = format!("high-{i}");
        bench.pinned(&id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    }
    let held: Vec<_> = (0..400).map(|_| bench.pick().unwrap()).collect();
    let order: Vec<_> = held.iter().map(|lease| lease.id().to_string()).collect();
    let counts = counts(&order);
    assert!(counts.keys().all(|id| id.starts_with("mid-")), "{counts:?}");
    assert!(counts.values().all(|count| *count <= 8), "{:?}", counts.values().max());
}

#[test]
fn lower_tiers_serve_with_all_accounts() {
    for (choose, size) in [
        (Selection::RoundRobin, 2),
        (Selection::LeastInFlight, 2),
        (Selection::Weighted, 2),
        (Selection::Weighted, 70),
    ] {
        let id = |tier: usize, i: usize| format!("{tier:02}-{i:02}");
        let tier = |(n, priority): (usize, i32)| {
            (0..size).map(move |i| account(&id(n, i)).priority(-priority))
        };
        let accounts = (0..20).zip(0..).flat_map(tier);
        let bench = Bench::new(Pool::builder().any_origin().accounts(accounts).selection(choose));
        for n in 0..20 {
            let served: BTreeSet<_> = bench.order(size).into_iter().collect();
            let all: Vec<_> = (0..size).map(|i| id(n, i)).collect();
            assert!(served.iter().eq(&all), "{choose:?} of {size}: {served:?}");
            for id in all {
                bench.pinned(&id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
            }
        }
    }
}

#[test]
fn large_tier_is_sampled_and_every_account_serves() {
    for choose in [Selection::LeastInFlight, Selection::MostRemaining] {
        let bench = many(300, choose);
        let held: Vec<_> = (0..1200).map(|_| bench.pick().unwrap()).collect();
        let order: Vec<_> = held.iter().map(|lease| lease.id().to_string()).collect();
        let counts = counts(&order);
        assert!(counts.len() > 250, "{choose:?}: {}", counts.len());
        if choose == Selection::LeastInFlight {
            assert!(counts.values().all(|count| *count <= 8), "{:?}", counts.values().max());
        }
    }
}

#[test]
fn sticky_key_moves_only_when_it_must() {
    let ids = ["a", "b", "c", "d", "e", "f"];
    let bench = Bench::new(accounts(&ids));
    let keys: Vec<String> = (0..600).map(|i| format!("session-{i}")).collect();
    let owner = |bench: &Bench, key: &str| {
        let query = Query { sticky: Some(key.as_bytes()), ..ANY };
        bench.query(&query).unwrap().id().to_string()
    };
    let before: Vec<_> = keys.iter().map(|key| owner(&bench, key)).collect();
    let counts = counts(&before);
    assert!(ids.iter().all(|id| (60..140).contains(&counts[id])), "{counts:?}");
    // The same in every process and release.
    assert_eq!(before[..4], ["c", "a", "a", "e"].map(str::to_owned)[..]);
    bench.pinned("c").unwrap().limited(None, Some(secs(60)), &mut bench.clock());
    for (key, before) in keys.iter().zip(&before) {
        let now = owner(&bench, key);
        assert!(if before == "c" { now != "c" } else { now == *before });
    }
    bench.pool.insert(account("g")).unwrap();
    bench.pool.revive("c");
    for (key, before) in keys.iter().zip(&before) {
        let now = owner(&bench, key);
        assert!(now == *before || now == "g");
    }
}

#[test]
fn avoided_account_is_never_leased() {
    for choose in [Selection::RoundRobin, Selection::Weighted, Selection::LeastInFlight] {
        let bench = Bench::new(accounts(&["a", "b", "c"]).selection(choose));
        let uid = |id| bench.pinned(id).unwrap().uid();
        let without = Without(vec![uid("a"), uid("c")]);
        let query = Query { avoid: Some(&without), ..ANY };
        for _ in 0..4 {
            assert_eq!(&**bench.query(&query).unwrap().id(), "b");
        }
        let nobody = Without(vec![uid("a"), uid("b"), uid("c")]);
        assert!(bench.query(&Query { avoid: Some(&nobody), ..ANY }).is_err());
    }
}

#[test]
fn accounts_with_a_list_serve_those_models() {
    let bench = Bench::new(
        accounts(&["any"]).account(account("small").models(["s1", "s2"])).order(Order::ById),
    );
    let serve = |model: &'static str| -> BTreeSet<String> {
        let query = Query { model: Some(model), ..ANY };
        (0..4).map(|_| bench.query(&query).unwrap().id().to_string()).collect()
    };
    assert!(serve("s2").iter().eq(&["any", "small"]));
    assert!(serve("big").iter().eq(&["any"]));
}

#[test]
fn selection_takes_each_of_100_000_accounts() {
    const N: usize = 100_000;
    let bench = many(N, Selection::RoundRobin);
    assert_eq!(bench.order(3), ["a0", "a1", "a2"]);
    let out = |i: usize| i % 100 != 7;
    {
        let roster = bench.pool.shared().roster.load();
        for entry in
            roster.entries.iter().enumerate().filter(|(i, _)| out(*i)).map(|(_, entry)| entry)
        {
            let change = bench
                .pool
                .shared()
                .change(&entry.current.load(), |state| state.cooled_down(1_000, 60_000));
            assert!(change.is_some());
        }
    }
    let order = bench.order(N / 100 + 1);
    assert_eq!((&*order[0], &*order[1], &*order[N / 100]), ("a7", "a107", "a7"));
    assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), N / 100);
}

/// Not a benchmark: a factor of 30 is no noise, and a scan would be a factor of 1,000.
#[test]
fn selection_takes_no_longer_with_more_accounts() {
    let time = |bench: &Bench| {
        let lap = || {
            let start = Instant::now();
            (0..200).for_each(|_| drop(bench.pick()));
            start.elapsed()
        };
        (0..20).map(|_| lap()).min().unwrap_or(Duration::MAX)
    };
    let (one, many) = (many(1, Selection::RoundRobin), many(20_000, Selection::RoundRobin));
    let (one, large) = (time(&one), time(&many));
    assert!(large < one * 30, "{large:?} and not {one:?}");
}

proptest! {
    #[test]
    fn bitset_agrees_with_a_set(
        len in 1..9000_usize,
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        ops in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        looks in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..20),
    ) {
        let (bits, mut set) = (Bitset::new(len), BTreeSet::new());
        for (put, i) in ops {
            let i = i.get(&places).index(len);
            if put {
                bits.set(i);
                set.insert(i);
            } else {
                bits.clear(i);
                set.remove(&i);
            }
            prop_assert_eq!(bits.has(i), put);
            prop_assert_eq!(bits.is_empty(), set.is_empty());
        }
        for (a, b) in looks {
            let (from, end) = (a.index(len), b.index(len) + 1);
            let expected = if from < end { set.range(from..end).next().copied() } else { None };
            prop_assert_eq!(bits.next(from, end), expected);
        }
    }

    #[test]
    fn cycle_gives_each_account_exactly_its_weight(
        weights in prop::collection::vec(0..20_u32, 1..64),
        start in 0..1000_u64,
    ) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let cycle = weighted::Cycle::new(weights.iter().copied());
        let mut counts = vec![0; weights.len()];
        for n in start * total..(start + 1) * total {
            let turn = cycle.turn(n);
            prop_assert_eq!(turn, weighted::turn_of(&weights, n));
            counts[turn.unwrap()] += 1;
        }
        prop_assert_eq!(&counts, &weights);
        if total == 0 {
            prop_assert_eq!(cycle.turn(start), None);
        }
    }

    #[test]
    fn heaviest_weights_overflow_nothing(n in any::<u64>(), len in 1..64_usize) {
        let weights = vec![u32::MAX; len];
        let turn = weighted::turn_of(&weights, n);
        prop_assert!(turn.is_some_and(|turn| turn < len));
        prop_assert_eq!(turn, weighted::Cycle::new(weights.into_iter()).turn(n));
    }

    // Every strategy gives an account that may serve, and none only when no account may.
    #[test]
    fn strategies_find_exactly_the_usable_accounts(
        tiers in prop::collection::vec((0..3_i32, 0..3_u32, any::<bool>()), 1..140),
        way in 0..5_u8,
    ) {
        let choose = [Selection::RoundRobin, Selection::FillFirst, Selection::Weighted,
            Selection::LeastInFlight, Selection::MostRemaining][usize::from(way)];
        let list = tiers.iter().enumerate().map(|(i, (priority, weight, _))| {
            account(&i.to_string()).priority(*priority).weight(*weight)
        });
        let list: Vec<Account> = list.collect();
        let bench = Bench::new(Pool::builder().any_origin().accounts(list).selection(choose));
        for (i, (_, _, out)) in tiers.iter().enumerate() {
            if *out {
                let id = i.to_string();
                bench.pinned(&id).unwrap().limited(None, Some(secs(60)), &mut bench.clock());
            }
        }
        let best = tiers.iter().filter(|(.., out)| !out).map(|(priority, ..)| *priority).max();
        for _ in 0..10 {
            match (bench.pick(), best) {
                (Ok(lease), Some(best)) => {
                    let (priority, weight, out) = tiers[lease.id().parse::<usize>().unwrap()];
                    prop_assert!(!out && priority == best);
                    let heavy = tiers.iter().any(|(p, w, out)| !out && *p == best && *w > 0);
                    prop_assert!(choose != Selection::Weighted || weight > 0 || !heavy);
                }
                (Err(_), None) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
