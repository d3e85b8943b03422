//! The retry bucket: 500 tokens that all retries of a service share, its costs and its refill.
//!
//! # Why a budget and not only a limit for each request?
//!
//! When the upstream is down, a limit of two retries triples its load when it can bear it least. A
//! shared budget lets retries through while they are few, and stops them when most requests fail.
//! Each success pays for a few more.

#[cfg(not(all(test, failover_loom)))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt::Debug, sync::Arc};

#[cfg(all(test, failover_loom))]
use loom::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The kind of a retry, by which a [`Budget`] may set its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cost {
    /// A retry after an answer, or after an error other than a timeout.
    Retry,
    /// A retry after a timeout. These keep the caller waiting longest.
    Timeout,
    /// A retry after the upstream asked for fewer requests (429).
    Limited,
}

/// A budget from which retries are paid. All requests of a service share it.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
/// use tower_failover::{retry::{Budget, Cost}, RetryPolicy};
///
/// /// Stops all retries while it is set.
/// #[derive(Debug, Default)]
/// struct Switch(AtomicBool);
///
/// impl Budget for Switch {
///     fn withdraw(&self, _: Cost) -> Option<u32> {
///         (!self.0.load(Relaxed)).then_some(0)
///     }
///     fn succeeded(&self, _: Option<u32>) {}
///     fn refund(&self, _: u32) {}
/// }
///
/// let switch = Arc::new(Switch::default());
/// let policy = RetryPolicy::new().budget(switch.clone());
/// switch.0.store(true, Relaxed);
/// assert_eq!(switch.withdraw(Cost::Retry), None);
/// ```
pub trait Budget: Debug + Send + Sync + 'static {
    /// Takes the price of one retry, and returns the amount. `None` if the budget does not cover it.
    fn withdraw(&self, cost: Cost) -> Option<u32>;

    /// Records that a request succeeded. `taken` is the price of its last retry, if there was one.
    fn succeeded(&self, taken: Option<u32>);

    /// Returns the price of a retry that was paid for and not sent.
    fn refund(&self, taken: u32);
}

/// A budget that never runs out: every retry is free.
///
/// ```
/// use tower_failover::{retry::Unlimited, RetryPolicy};
///
/// let policy = RetryPolicy::new().budget(Unlimited);
/// # drop(policy);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlimited;

impl Budget for Unlimited {
    fn withdraw(&self, _: Cost) -> Option<u32> {
        Some(0)
    }

    fn succeeded(&self, _: Option<u32>) {}

    fn refund(&self, _: u32) {}
}

/// Shares a budget with another policy, or with code that reads it.
impl<T: Budget + ?Sized> Budget for Arc<T> {
    fn withdraw(&self, cost: Cost) -> Option<u32> {
        (**self).withdraw(cost)
    }

    fn succeeded(&self, taken: Option<u32>) {
        (**self).succeeded(taken);
    }

    fn refund(&self, taken: u32) {
        (**self).refund(taken);
    }
}

/// A bucket of tokens, without a lock.
///
/// 1. A retry is sent only if the bucket holds its price.
/// 2. A success after a retry puts back the price of that retry. A success at the first attempt puts
///    back [`success`](TokenBucket::success) tokens, 1 by default.
/// 3. The bucket never holds more than its capacity, and nothing is written while it is full.
///
/// This is the bucket of the AWS SDKs
/// ([standard retry mode](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)).
///
/// ```
/// use std::sync::Arc;
/// use tower_failover::{retry::TokenBucket, RetryPolicy};
///
/// // At most 20 retries when all requests fail, and two more each second.
/// let bucket = Arc::new(TokenBucket::new(100).refill(10));
/// let policy = RetryPolicy::new().budget(bucket.clone());
/// assert_eq!(bucket.tokens(), 100);
/// ```
///
/// # Ordering
///
/// All accesses are `Relaxed`. Each number changes by an atomic read-modify-write, which no
/// interleaving can split, and no other memory is published through it.
#[derive(Debug)]
pub struct TokenBucket {
    tokens: AtomicU64,
    capacity: u64,
    retry: u32,
    timeout: u32,
    limited: u32,
    success: u32,
    refill: Option<Refill>,
}

/// The refill with time, and how much of it was counted.
#[derive(Debug)]
struct Refill {
    per_second: u32,
    epoch: Instant,
    /// The refilled tokens since the epoch that were added to the bucket.
    counted: AtomicU64,
}

impl TokenBucket {
    /// Builds a full bucket of `capacity` tokens. A retry costs 5 tokens, a success puts back 1.
    pub fn new(capacity: u32) -> Self {
        Self {
            tokens: AtomicU64::new(capacity.into()),
            capacity: capacity.into(),
            retry: 5,
            timeout: 5,
            limited: 5,
            success: 1,
            refill: None,
        }
    }

    /// Sets the price of a retry that follows neither a timeout nor a 429.
    #[must_use]
    pub const fn retry_cost(mut self, tokens: u32) -> Self {
        self.retry = tokens;
        self
    }

    /// Sets the price of a retry after a timeout.
    #[must_use]
    pub const fn timeout_cost(mut self, tokens: u32) -> Self {
        self.timeout = tokens;
        self
    }

    /// Sets the price of a retry after a 429.
    #[must_use]
    pub const fn limited_cost(mut self, tokens: u32) -> Self {
        self.limited = tokens;
        self
    }

    /// Sets the number of tokens that a success at the first attempt puts back.
    #[must_use]
    pub const fn success(mut self, tokens: u32) -> Self {
        self.success = tokens;
        self
    }

    /// Sets the number of tokens at the start, at most the capacity.
    #[must_use]
    pub fn initial(self, tokens: u32) -> Self {
        self.tokens.store(u64::from(tokens).min(self.capacity), Ordering::Relaxed);
        self
    }

    /// Adds tokens with time, starting now.
    #[must_use]
    pub fn refill(mut self, per_second: u32) -> Self {
        self.refill =
            Some(Refill { per_second, epoch: Instant::now(), counted: AtomicU64::new(0) });
        self
    }

    /// Returns the number of tokens in the bucket.
    pub fn tokens(&self) -> u64 {
        self.count_refill();
        self.tokens.load(Ordering::Relaxed)
    }

    const fn price(&self, cost: Cost) -> u32 {
        match cost {
            Cost::Retry => self.retry,
            Cost::Timeout => self.timeout,
            Cost::Limited => self.limited,
        }
    }

    /// Adds the tokens that are due since the last count. Of two concurrent calls, one adds them.
    fn count_refill(&self) {
        let Some(refill) = &self.refill else { return };
        let due = refill.epoch.elapsed().as_millis() * u128::from(refill.per_second) / 1000;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let counted = refill.counted.load(Ordering::Relaxed);
        if due > counted
            && refill
                .counted
                .compare_exchange(counted, due, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.add(due - counted);
        }
    }

    fn add(&self, tokens: u64) {
        let capacity = self.capacity;
        // The update fails if the bucket is full: then nothing is written to the shared line.
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            (held < capacity && tokens > 0).then(|| held.saturating_add(tokens).min(capacity))
        });
    }
}

impl Default for TokenBucket {
    fn default() -> Self {
        Self::new(500)
    }
}

impl Budget for TokenBucket {
    fn withdraw(&self, cost: Cost) -> Option<u32> {
        self.count_refill();
        let price = self.price(cost);
        self.tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_sub(u64::from(price))
            })
            .is_ok()
            .then_some(price)
    }

    fn succeeded(&self, taken: Option<u32>) {
        self.add(u64::from(taken.unwrap_or(self.success)));
    }

    fn refund(&self, taken: u32) {
        self.add(taken.into());
    }
}

#[cfg(all(test, failover_loom))]
mod loom_models;
#[cfg(test)]
mod tests;
