//! What all retries of a service may cost together.
//!
//! # Why a budget and not only a limit for each request?
//!
//! When the upstream is down, a limit of two retries triples its load just when it can bear it
//! least. A budget that all requests share lets retries through while they are few, and stops them
//! when most requests fail; each success pays for a few more.

use std::{
    fmt::Debug,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What a retry is for, as far as its price goes.
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
pub trait Budget: Debug + Send + Sync + 'static {
    /// Takes the price of one retry. `None` when it cannot be paid; else what was taken.
    fn withdraw(&self, cost: Cost) -> Option<u32>;

    /// A request succeeded; `taken` is what its last retry cost, when there was one.
    fn succeeded(&self, taken: Option<u32>);

    /// A retry that was paid for did not happen.
    fn give_back(&self, taken: u32);
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

    fn give_back(&self, taken: u32) {
        self.add(taken.into());
    }
}

/// Retries as a share of the requests of the last seconds, as Finagle and tower have it.
///
/// Each request that succeeds at the first try, or fails, counts as one deposit, made by
/// [`deposit`](WindowBudget::deposit); the layer makes it on success. A mutex is taken for each
/// success: prefer [`TokenBucket`], which writes nothing while all goes well.
#[derive(Debug)]
pub struct WindowBudget {
    /// Thousandths of a retry that a deposit is worth.
    worth: u64,
    reserve: u64,
    slot: Duration,
    window: Mutex<Window>,
}

const SLOTS: usize = 10;
const RETRY: u64 = 1000;

#[derive(Debug)]
struct Window {
    epoch: Instant,
    at: u128,
    /// Thousandths of retries, deposited and taken in each slot.
    slots: [(u64, u64); SLOTS],
    /// What was taken from the reserve in each slot.
    reserve: [u64; SLOTS],
}

/// Why a [`WindowBudget`] cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The ratio is no number of retries for a request.
    #[error(
        "the ratio must be a finite number from 0 to 1000, e.g. 0.2 for one retry in five requests"
    )]
    Ratio,
    /// The window is empty or endless.
    #[error("the window must be from 10 ms to 1 h long, e.g. 10 s")]
    Window,
}

impl WindowBudget {
    /// `ratio` retries for each request of the last `window`, and `reserve` retries a second besides.
    ///
    /// # Errors
    ///
    /// When the ratio is negative, not finite or above 1000, or the window is not from 10 ms to 1 h.
    pub fn new(window: Duration, ratio: f64, reserve: u32) -> Result<Self, BudgetError> {
        if !(0.0..=1000.0).contains(&ratio) {
            return Err(BudgetError::Ratio);
        }
        if window < Duration::from_millis(10) || window > Duration::from_secs(3600) {
            return Err(BudgetError::Window);
        }
        let seconds = window.as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // Both are bounded above by the checks, and rounded.
        let (worth, reserve) = (
            (ratio * RETRY as f64).round() as u64,
            (f64::from(reserve) * seconds * RETRY as f64).round() as u64,
        );
        Ok(Self {
            worth,
            reserve,
            slot: window / u32::try_from(SLOTS).unwrap_or(1),
            window: Mutex::new(Window {
                epoch: Instant::now(),
                at: 0,
                slots: [(0, 0); SLOTS],
                reserve: [0; SLOTS],
            }),
        })
    }

    /// Counts one request.
    pub fn deposit(&self) {
        let worth = self.worth;
        self.with(|window, slot| window.slots[slot].0 += worth);
    }

    /// How many whole retries could be paid now.
    pub fn balance(&self) -> u64 {
        self.with(|window, _| self.left(window) / RETRY)
    }

    fn left(&self, window: &Window) -> u64 {
        let deposits: u64 = window.slots.iter().map(|slot| slot.0).sum();
        let taken: u64 = window.slots.iter().map(|slot| slot.1).sum();
        let reserved: u64 = window.reserve.iter().sum();
        deposits.saturating_sub(taken) + self.reserve.saturating_sub(reserved)
    }

    /// Forgets the slots that time has passed by, and runs `f` on the present one.
    fn with<T>(&self, f: impl FnOnce(&mut Window, usize) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let at = window.epoch.elapsed().as_nanos() / self.slot.as_nanos().max(1);
        let passed = at.saturating_sub(window.at).min(SLOTS as u128);
        for step in 1..=passed {
            let slot = ((window.at + step) % SLOTS as u128) as usize;
            window.slots[slot] = (0, 0);
            window.reserve[slot] = 0;
        }
        window.at = at.max(window.at);
        let slot = (window.at % SLOTS as u128) as usize;
        f(&mut window, slot)
    }
}

impl Budget for WindowBudget {
    fn withdraw(&self, _: Cost) -> Option<u32> {
        self.with(|window, slot| {
            if self.left(window) < RETRY {
                return None;
            }
            let deposits: u64 = window.slots.iter().map(|slot| slot.0).sum();
            let taken: u64 = window.slots.iter().map(|slot| slot.1).sum();
            let earned = deposits.saturating_sub(taken).min(RETRY);
            window.slots[slot].1 += earned;
            window.reserve[slot] += RETRY - earned;
            Some(1)
        })
    }

    fn succeeded(&self, _: Option<u32>) {
        self.deposit();
    }

    fn give_back(&self, taken: u32) {
        self.with(|window, slot| window.slots[slot].0 += u64::from(taken) * RETRY);
    }
}

#[cfg(test)]
mod tests;
