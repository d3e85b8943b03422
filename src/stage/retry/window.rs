//! A budget in proportion to the requests of the last seconds.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::budget::{Budget, Cost};

/// Retries in proportion to the requests of the last seconds, as in Finagle and tower.
///
/// The layer makes a [`deposit`](WindowBudget::deposit) for each success. This takes a mutex: prefer
/// [`TokenBucket`](crate::retry::TokenBucket), which writes nothing while all requests succeed.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{retry::WindowBudget, RetryPolicy};
///
/// // One retry for five requests of the last ten seconds, and ten more retries a second.
/// let budget = WindowBudget::new(Duration::from_secs(10), 0.2, 10)?;
/// let policy = RetryPolicy::new().budget(budget);
/// # Ok::<(), tower_failover::retry::BudgetError>(())
/// ```
#[derive(Debug)]
pub struct WindowBudget {
    /// The value of a deposit, in thousandths of a retry.
    worth: u64,
    reserve: u64,
    slot: Duration,
    window: Mutex<Window>,
}

const SLOTS: usize = 10;
const RETRY: u32 = 1000;

#[derive(Debug)]
struct Window {
    epoch: Instant,
    at: u128,
    /// Thousandths of retries that were deposited and taken in each slot.
    slots: [(u64, u64); SLOTS],
    /// Thousandths of retries that were taken from the reserve in each slot.
    reserve: [u64; SLOTS],
}

/// The reason why a [`WindowBudget`] cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The ratio is not from 0 to 1000.
    #[error(
        "the ratio must be a finite number from 0 to 1000, e.g. 0.2 for one retry in five requests"
    )]
    Ratio,
    /// The window is not from 10 ms to 1 h.
    #[error("the window must be from 10 ms to 1 h long, e.g. 10 s")]
    Window,
}

impl WindowBudget {
    /// Allows `ratio` retries for each request of the last `window`, and `reserve` more a second.
    ///
    /// # Errors
    ///
    /// The ratio is not from 0 to 1000, or the window is not from 10 ms to 1 h.
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
            (ratio * f64::from(RETRY)).round() as u64,
            (f64::from(reserve) * seconds * f64::from(RETRY)).round() as u64,
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

    /// Returns the number of whole retries that the budget covers now.
    pub fn balance(&self) -> u64 {
        self.with(|window, _| self.left(window) / u64::from(RETRY))
    }

    fn left(&self, window: &Window) -> u64 {
        let deposits: u64 = window.slots.iter().map(|slot| slot.0).sum();
        let taken: u64 = window.slots.iter().map(|slot| slot.1).sum();
        let reserved: u64 = window.reserve.iter().sum();
        deposits.saturating_sub(taken) + self.reserve.saturating_sub(reserved)
    }

    /// Clears the slots that have expired, and calls `f` with the current one.
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
            if self.left(window) < u64::from(RETRY) {
                return None;
            }
            let deposits: u64 = window.slots.iter().map(|slot| slot.0).sum();
            let taken: u64 = window.slots.iter().map(|slot| slot.1).sum();
            let earned = deposits.saturating_sub(taken).min(u64::from(RETRY));
            window.slots[slot].1 += earned;
            window.reserve[slot] += u64::from(RETRY) - earned;
            Some(1)
        })
    }

    fn succeeded(&self, _: Option<u32>) {
        self.deposit();
    }

    fn refund(&self, taken: u32) {
        self.with(|window, slot| window.slots[slot].0 += u64::from(taken) * u64::from(RETRY));
    }
}

#[cfg(test)]
mod tests;
