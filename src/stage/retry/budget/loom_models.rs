//! The bucket in every interleaving: never above its capacity, never below nothing, and no token lost
//! or doubled. `RUSTFLAGS="--cfg failover_loom" cargo test --release --lib loom`.

use std::{sync::Arc, time::Duration};

use loom::{model, thread};

use super::*;

/// Both at once.
fn both<A>(a: impl FnOnce() -> A, b: impl FnOnce() -> A + Send + 'static) -> (A, A)
where
    A: Send + 'static,
{
    let other = thread::spawn(b);
    (a(), other.join().expect("it ends well"))
}

fn bucket(capacity: u32, initial: u32) -> Arc<TokenBucket> {
    Arc::new(TokenBucket::new(capacity).initial(initial))
}

#[test]
fn of_two_retries_the_last_tokens_pay_for_one() {
    model(|| {
        let bucket = bucket(500, 9);
        let other = Arc::clone(&bucket);
        let (one, two) =
            both(|| bucket.withdraw(Cost::Retry), move || other.withdraw(Cost::Timeout));
        assert!(one.is_some() != two.is_some(), "{one:?} and {two:?}");
        assert_eq!(bucket.tokens(), 4);
    });
}

#[test]
fn two_retries_take_two_prices() {
    model(|| {
        let bucket = bucket(500, 10);
        let other = Arc::clone(&bucket);
        let paid = both(|| bucket.withdraw(Cost::Retry), move || other.withdraw(Cost::Limited));
        assert_eq!((paid, bucket.tokens()), ((Some(5), Some(5)), 0));
    });
}

#[test]
fn what_two_give_back_is_all_there() {
    model(|| {
        let bucket = bucket(10, 0);
        let other = Arc::clone(&bucket);
        both(|| bucket.refund(3), move || other.succeeded(Some(4)));
        assert_eq!(bucket.tokens(), 7);
    });
}

#[test]
fn two_that_give_back_do_not_overflow_it() {
    model(|| {
        let bucket = bucket(10, 8);
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let threads = [
            thread::spawn(move || one.succeeded(Some(5))),
            thread::spawn(move || two.succeeded(None)),
        ];
        assert!((8..=10).contains(&bucket.tokens()));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(bucket.tokens(), 10);
    });
}

#[test]
fn what_is_taken_and_given_back_at_once_adds_up() {
    model(|| {
        let bucket = bucket(10, 6);
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let retry = thread::spawn(move || one.withdraw(Cost::Retry));
        let success = thread::spawn(move || two.succeeded(Some(5)));
        let seen = bucket.tokens();
        assert!([6, 1, 10, 5].contains(&seen), "{seen}");
        assert_eq!(retry.join().unwrap(), Some(5));
        success.join().unwrap();
        // Taken first: 6 - 5 + 5. Given first: 10, for there is no room for 11, then 5.
        let left = bucket.tokens();
        assert!([6, 5].contains(&left), "{left}");
    });
}

#[test]
fn what_time_gives_is_counted_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let runtime = Arc::new(runtime);
    model(move || {
        // Its clock stands for both: they are one thread to everybody but the model checker.
        let _clock = runtime.enter();
        let bucket = Arc::new(TokenBucket::new(100).initial(0).refill(10));
        runtime.block_on(tokio::time::advance(Duration::from_secs(1)));
        let other = Arc::clone(&bucket);
        let (one, two) = both(|| bucket.withdraw(Cost::Retry), move || other.withdraw(Cost::Retry));
        // Who comes while the other counts may find nothing yet, and is not paid.
        let paid = [one, two].into_iter().flatten().map(u64::from).sum::<u64>();
        assert_eq!(bucket.tokens() + paid, 10);
    });
}
