//! The bucket against a naive counter.

use proptest::prelude::*;

use std::time::Duration;

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
    fn bucket_matches_a_naive_counter_between_zero_and_capacity(
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
                    bucket.refund(taken);
                    naive = (naive + u64::from(taken)).min(capacity);
                }
            }
            prop_assert_eq!(bucket.tokens(), naive);
        }
    }
}

#[test]
fn bucket_never_pays_more_than_it_holds_across_threads() {
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
async fn refill_adds_tokens_with_time_and_keeps_fractions() {
    let bucket = TokenBucket::new(1000).initial(0).refill(10);
    for (wait, tokens) in [(2000, 20), (50, 20), (50, 21), (99_000, 1000), (1000, 1000)] {
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(bucket.tokens(), tokens);
    }
}
