//! Budgets against naive ones, and what they promise.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Withdraw(Cost),
    FirstTry,
    AfterRetry(u32),
    GiveBack(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let cost = prop_oneof![Just(Cost::Retry), Just(Cost::Timeout), Just(Cost::Limited)];
    prop_oneof![
        cost.prop_map(Op::Withdraw),
        Just(Op::FirstTry),
        (0u32..20).prop_map(Op::AfterRetry),
        (0u32..20).prop_map(Op::GiveBack),
    ]
}

proptest! {
    #[test]
    fn a_bucket_is_a_number_between_nothing_and_its_capacity(
        capacity in 0u32..200, prices in [0u32..20, 0u32..20, 0u32..20], gain in 0u32..5,
        ops in proptest::collection::vec(op(), 0..200),
    ) {
        let bucket = TokenBucket::new(capacity)
            .retry_cost(prices[0]).timeout_cost(prices[1]).limited_cost(prices[2]).success(gain);
        let capacity = u64::from(capacity);
        let mut naive = capacity;
        for op in ops {
            match op {
                Op::Withdraw(cost) => {
                    let price = match cost {
                        Cost::Retry => prices[0],
                        Cost::Timeout => prices[1],
                        Cost::Limited => prices[2],
                    };
                    let paid = u64::from(price) <= naive;
                    if paid { naive -= u64::from(price); }
                    prop_assert_eq!(bucket.withdraw(cost), paid.then_some(price));
                }
                Op::FirstTry => {
                    bucket.succeeded(None);
                    naive = (naive + u64::from(gain)).min(capacity);
                }
                Op::AfterRetry(taken) => {
                    bucket.succeeded(Some(taken));
                    naive = (naive + u64::from(taken)).min(capacity);
                }
                Op::GiveBack(taken) => {
                    bucket.give_back(taken);
                    naive = (naive + u64::from(taken)).min(capacity);
                }
            }
            prop_assert_eq!(bucket.tokens(), naive);
        }
    }

    #[test]
    fn a_window_never_lends_more_than_its_ratio_and_reserve(
        ratio in 0.0f64..2.0, reserve in 0u32..20, deposits in 0u32..300,
    ) {
        let window = WindowBudget::new(Duration::from_secs(1), ratio, reserve).unwrap();
        (0..deposits).for_each(|_| window.deposit());
        let lent = std::iter::from_fn(|| window.withdraw(Cost::Retry)).count() as f64;
        // A deposit is worth a whole number of thousandths.
        let worth = (ratio * 1000.0).round() / 1000.0;
        let owed = f64::from(deposits) * worth + f64::from(reserve);
        prop_assert!(lent <= owed + 1e-6 && lent > owed - 1.0 - 1e-6, "{lent} {owed}");
    }
}

#[test]
fn threads_never_take_more_than_there_is() {
    let bucket = TokenBucket::new(1000).retry_cost(1);
    let paid = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mine = (0..500).filter(|_| bucket.withdraw(Cost::Retry).is_some()).count();
                paid.fetch_add(mine as u64, Ordering::Relaxed);
            });
        }
    });
    assert_eq!((paid.into_inner(), bucket.tokens()), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn tokens_come_with_time_and_fractions_are_kept() {
    let bucket = TokenBucket::new(1000).initial(0).refill(10);
    for (wait, tokens) in [(2000, 20), (50, 20), (50, 21), (99_000, 1000), (1000, 1000)] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(bucket.tokens(), tokens);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deposit_is_gone_after_the_window() {
    let window = WindowBudget::new(Duration::from_secs(1), 1.0, 0).unwrap();
    window.deposit();
    tokio::time::advance(Duration::from_millis(901)).await;
    assert_eq!(window.balance(), 1);
    tokio::time::advance(Duration::from_millis(100)).await;
    assert_eq!((window.balance(), window.withdraw(Cost::Retry)), (0, None));
}

#[test]
fn bad_windows_are_refused() {
    for ratio in [-0.1, f64::NAN, f64::INFINITY, 1001.0] {
        let error = WindowBudget::new(Duration::from_secs(1), ratio, 0).unwrap_err();
        assert_eq!(error, BudgetError::Ratio, "{ratio}");
    }
    for millis in [0, 9, 3_600_001] {
        let error = WindowBudget::new(Duration::from_millis(millis), 0.1, 0).unwrap_err();
        assert_eq!(error, BudgetError::Window);
    }
}
