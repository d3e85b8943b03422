//! What all retries of a service may cost together.
//!
//! # Why a budget and not only a limit for each request?
//!
//! When the upstream is down, a limit of two retries triples its load just when it can bear it
//! least. A budget that all requests share lets retries through while they are few, and stops them
//! when most requests fail; each success pays for a few more.

#[cfg(not(all(test, failover_loom)))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt::Debug, sync::Arc};

#[cfg(all(test, failover_loom))]
use loom::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// What a retry is for, as far as its price goes.
///
/// [`Budget`] has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cost {
    /// After an answer, or an error that is no timeout.
    Retry,
    /// After a timeout: such retries keep the caller waiting longest.
    Timeout,
    /// After the upstream asked for fewer requests.
    Limited,
}

/// Something that retries are paid from; shared by all requests of a service.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering::Relaxed}};
/// use tower_failover::{retry::{Budget, Cost}, RetryPolicy};
///
/// /// No retries while somebody has switched them off.
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
    /// Takes the price of one retry. `None` when it cannot be paid; else what was taken.
    fn withdraw(&self, cost: Cost) -> Option<u32>;

    /// A request succeeded; `taken` is what its last retry cost, when there was one.
    fn succeeded(&self, taken: Option<u32>);

    /// A retry that was paid for did not happen.
    fn refund(&self, taken: u32);
}

/// No budget: every retry is free.
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

/// A budget that is shared, with another policy or with the code that watches it.
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

/// A number of tokens, without a lock.
///
/// 1. A retry takes its price, or does not happen.
/// 2. A success after a retry gives back what its last retry took; one at the first try gives back
///    [`success`](TokenBucket::success), by default 1.
/// 3. Never more than the capacity; nothing is written while it is full.
///
/// This is the bucket of the AWS SDKs
/// ([standard retry mode](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)).
///
/// ```
/// use std::sync::Arc;
/// use tower_failover::{retry::TokenBucket, RetryPolicy};
///
/// // 20 retries at most when all requests fail, and two more each second.
/// let bucket = Arc::new(TokenBucket::new(100).refill(10));
/// let policy = RetryPolicy::new().budget(bucket.clone());
/// assert_eq!(bucket.tokens(), 100);
/// ```
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

/// Whole tokens that come with time, and when they were last counted.
#[derive(Debug)]
struct Refill {
    per_second: u32,
    epoch: Instant,
    /// Tokens that time has given since the epoch and that are in the bucket already.
    counted: AtomicU64,
}

impl TokenBucket {
    /// A full bucket of `capacity` tokens; any retry costs 5, a success gives 1.
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

    /// What a retry costs that is neither after a timeout nor after a limit.
    #[must_use]
    pub const fn retry_cost(mut self, tokens: u32) -> Self {
        self.retry = tokens;
        self
    }

    /// What a retry after a timeout costs.
    #[must_use]
    pub const fn timeout_cost(mut self, tokens: u32) -> Self {
        self.timeout = tokens;
        self
    }

    /// What a retry after a 429 costs.
    #[must_use]
    pub const fn limited_cost(mut self, tokens: u32) -> Self {
        self.limited = tokens;
        self
    }

    /// What a success at the first try gives back.
    #[must_use]
    pub const fn success(mut self, tokens: u32) -> Self {
        self.success = tokens;
        self
    }

    /// How many tokens are there at first, at most the capacity.
    #[must_use]
    pub fn initial(self, tokens: u32) -> Self {
        self.tokens.store(u64::from(tokens).min(self.capacity), Ordering::Relaxed);
        self
    }

    /// Tokens that come with time, from now on.
    #[must_use]
    pub fn refill(mut self, per_second: u32) -> Self {
        self.refill =
            Some(Refill { per_second, epoch: Instant::now(), counted: AtomicU64::new(0) });
        self
    }

    /// How many tokens are there.
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

    /// Moves what time has given into the bucket; of two that count at once one wins.
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
        // A failed update is a full bucket: nothing is written, so nothing is shared.
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
