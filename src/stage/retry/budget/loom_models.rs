//! The bucket in every interleaving: between zero and its capacity, with no token lost or doubled. `RUSTFLAGS="--cfg failover_loom" cargo test --release --lib loom`.

use std::{sync::Arc, time::Duration};

use loom::{model, thread};

use super::*;

/// Runs both at once.
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
fn last_tokens_pay_for_one_of_two_retries() {
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
fn two_retries_are_both_charged() {
    model(|| {
        let bucket = bucket(500, 10);
        let other = Arc::clone(&bucket);
        let paid = both(|| bucket.withdraw(Cost::Retry), move || other.withdraw(Cost::Limited));
        assert_eq!((paid, bucket.tokens()), ((Some(5), Some(5)), 0));
    });
}

#[test]
fn two_refunds_are_both_added() {
    model(|| {
        let bucket = bucket(10, 0);
        let other = Arc::clone(&bucket);
        both(|| bucket.refund(3), move || other.succeeded(Some(4)));
        assert_eq!(bucket.tokens(), 7);
    });
}

#[test]
fn two_successes_do_not_overflow_the_bucket() {
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
fn concurrent_retry_and_success_add_up() {
    model(|| {
        let bucket = bucket(10, 6);
        let (one, two) = (Arc::clone(&bucket), Arc::clone(&bucket));
        let retry = thread::spawn(move || one.withdraw(Cost::Retry));
        let success = thread::spawn(move || two.succeeded(Some(5)));
        let seen = bucket.tokens();
        assert!([6, 1, 10, 5].contains(&seen), "{seen}");
        assert_eq!(retry.join().unwrap(), Some(5));
        success.join().unwrap();
        // The retry first: 6 - 5 + 5. The success first: 10, since 11 exceed the capacity, then 5.
        let left = bucket.tokens();
        assert!([6, 5].contains(&left), "{left}");
    });
}

#[test]
fn refill_is_counted_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let runtime = Arc::new(runtime);
    model(move || {
        // One clock serves both: only the model checker sees two threads.
        let _clock = runtime.enter();
        let bucket = Arc::new(TokenBucket::new(100).initial(0).refill(10));
        runtime.block_on(tokio::time::advance(Duration::from_secs(1)));
        let other = Arc::clone(&bucket);
        let (one, two) = both(|| bucket.withdraw(Cost::Retry), move || other.withdraw(Cost::Retry));
        // A retry during the other's count may find no tokens yet, and is not paid.
        let paid = [one, two].into_iter().flatten().map(u64::from).sum::<u64>();
        assert_eq!(bucket.tokens() + paid, 10);
    });
}
