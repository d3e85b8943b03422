//! The wait before a retry.

use std::time::Duration;

/// The random part of a backoff.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::retry::{Backoff, Jitter};
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5))?
///     .jitter(Jitter::between(0.8, 1.2)?);
/// // The second wait is 200 ms, plus or minus 20 %.
/// assert_eq!(backoff.delay(2, 0.5), Duration::from_millis(200));
/// # Ok::<(), tower_failover::retry::BackoffError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jitter {
    low: f64,
    high: f64,
}

impl Jitter {
    /// Waits exactly the backoff.
    pub const NONE: Self = Self { low: 1.0, high: 1.0 };
    /// Waits a random time from zero to the backoff.
    pub const FULL: Self = Self { low: 0.0, high: 1.0 };
    /// Waits a random time from half the backoff to all of it.
    pub const EQUAL: Self = Self { low: 0.5, high: 1.0 };

    /// Multiplies the backoff by a random number from `low` to `high`: `(0.8, 1.2)` is ±20 %.
    ///
    /// # Errors
    ///
    /// A number is negative or not finite, or `low` is above `high`.
    pub fn between(low: f64, high: f64) -> Result<Self, BackoffError> {
        let fine = low.is_finite() && high.is_finite() && low >= 0.0 && low <= high;
        fine.then_some(Self { low, high }).ok_or(BackoffError::Jitter)
    }

    /// Returns the factor for a random number from 0 to 1.
    fn factor(self, random: f64) -> f64 {
        self.low + (self.high - self.low) * random.clamp(0.0, 1.0)
    }
}

/// The reason why a [`Backoff`] or [`Jitter`] cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackoffError {
    /// The jitter is not a range of finite numbers from 0.
    #[error(
        "jitter must be two finite numbers, 0 or more, the smaller one first, e.g. between(0.8, 1.2)"
    )]
    Jitter,
    /// The multiplier is below 1 or not finite.
    #[error("the backoff's multiplier must be a finite number, 1 or more, e.g. 2.0")]
    Multiplier,
    /// The first wait is longer than the longest wait.
    #[error(
        "the first backoff must not be longer than the longest: raise `max` or lower `initial`"
    )]
    Order,
}

/// Exponential backoff from `initial` up to `max`, with jitter.
///
/// The default is 100 ms doubling to 5 s with full jitter
/// ([Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)).
///
/// ```
/// use std::time::Duration;
/// use tower_failover::retry::{Backoff, Jitter};
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1))?.jitter(Jitter::NONE);
/// assert_eq!(backoff.delay(1, 0.5), Duration::from_millis(100));
/// assert_eq!(backoff.delay(3, 0.5), Duration::from_millis(400));
/// assert_eq!(backoff.delay(99, 0.5), Duration::from_secs(1));
/// # Ok::<(), tower_failover::retry::BackoffError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    multiplier: f64,
    jitter: Jitter,
}

impl Backoff {
    /// The default: 100 ms doubling to 5 s, with full jitter.
    pub const DEFAULT: Self = Self {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(5),
        multiplier: 2.0,
        jitter: Jitter::FULL,
    };

    /// Builds a backoff that doubles from `initial` to `max`, with full jitter.
    ///
    /// # Errors
    ///
    /// `initial` is longer than `max`.
    pub fn new(initial: Duration, max: Duration) -> Result<Self, BackoffError> {
        if initial > max {
            return Err(BackoffError::Order);
        }
        Ok(Self { initial, max, ..Self::DEFAULT })
    }

    /// Builds a backoff without any wait.
    pub const fn none() -> Self {
        Self { initial: Duration::ZERO, max: Duration::ZERO, ..Self::DEFAULT }
    }

    /// Sets the factor by which each wait is longer than the one before (2).
    ///
    /// # Errors
    ///
    /// The multiplier is below 1 or not finite.
    pub fn multiplier(mut self, multiplier: f64) -> Result<Self, BackoffError> {
        if !multiplier.is_finite() || multiplier < 1.0 {
            return Err(BackoffError::Multiplier);
        }
        self.multiplier = multiplier;
        Ok(self)
    }

    /// Sets the jitter.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the wait before retry number `retry` (from 1), for a random number from 0 to 1.
    ///
    /// The jitter applies to the bounded backoff. The result never overflows.
    pub fn delay(&self, retry: u32, random: f64) -> Duration {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.powi(exponent);
        // NaN is 0 * infinity: `initial` is zero, so the wait is zero.
        let backoff = if seconds.is_nan() { 0.0 } else { seconds };
        // A float of seconds is not exact for very long waits; the bound is.
        let bounded = Duration::try_from_secs_f64(backoff).map_or(self.max, |b| b.min(self.max));
        let factor = self.jitter.factor(random);
        let jittered = Duration::try_from_secs_f64(bounded.as_secs_f64() * factor);
        let jittered = jittered.unwrap_or(Duration::MAX);
        if factor <= 1.0 { jittered.min(bounded) } else { jittered }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Multiplies in whole milliseconds, step by step.
    fn naive(initial: u64, max: u64, factor: u32, retry: u32) -> u32 {
        let mut wait = u128::from(initial);
        for _ in 1..retry {
            wait = (wait * u128::from(factor)).min(u128::from(max));
        }
        u32::try_from(wait.min(u128::from(max))).unwrap()
    }

    proptest! {
        #[test]
        fn delay_without_jitter_is_the_naive_product(
            initial in 0u64..5_000, more in 0u64..600_000, factor in 1u32..5, retry in 1u32..200,
        ) {
            let max = initial + more;
            let backoff = Backoff::new(Duration::from_millis(initial), Duration::from_millis(max))
                .and_then(|b| b.multiplier(f64::from(factor)))
                .unwrap()
                .jitter(Jitter::NONE);
            let got = backoff.delay(retry, 0.3).as_secs_f64() * 1e3;
            let expected = naive(initial, max, factor, retry);
            prop_assert!((got - f64::from(expected)).abs() < 1e-3, "{got} {expected}");
        }

        #[test]
        fn jitter_stays_in_its_range(
            low in 0.0f64..1.0, span in 0.0f64..1.0, random in 0.0f64..=1.0, retry in 1u32..100,
        ) {
            let base = Backoff::DEFAULT.jitter(Jitter::NONE).delay(retry, 0.0).as_secs_f64();
            let jitter = Jitter::between(low, low + span).unwrap();
            let got = Backoff::DEFAULT.jitter(jitter).delay(retry, random).as_secs_f64();
            prop_assert!(got >= base * low - 1e-6 && got <= base * (low + span) + 1e-6);
        }

        #[test]
        fn delay_never_overflows(initial: u32, max: u64, factor in 1.0f64..1e300, retry: u32, random: f64) {
            let initial = Duration::from_millis(initial.into());
            let max = Duration::from_millis(max).max(initial);
            let backoff = Backoff::new(initial, max).and_then(|b| b.multiplier(factor)).unwrap();
            prop_assert!(backoff.delay(retry, random) <= max);
        }
    }

    #[test]
    fn bad_numbers_are_errors_that_say_what_to_change() {
        for (low, high) in [(-0.1, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (1.0, 0.5)] {
            let error = Jitter::between(low, high).unwrap_err();
            assert!(error.to_string().contains("between(0.8, 1.2)"), "{error}");
        }
        for factor in [0.0, 0.5, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Backoff::DEFAULT.multiplier(factor), Err(BackoffError::Multiplier));
        }
        let error = Backoff::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, BackoffError::Order);
    }
}
