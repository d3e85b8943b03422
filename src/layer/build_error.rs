//! What is wrong with a layer's settings.

use crate::report::CoalesceError;

/// Why a layer cannot be built.
///
/// [`FailoverBuilder`](crate::failover::FailoverBuilder) has an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No attempt is allowed.
    #[error("a request needs at least 1 attempt, and the first one counts: raise `attempts`")]
    ZeroAttempts,
    /// No refusal is allowed.
    #[error("a request must be allowed at least 1 refused account: raise `max_refusals`")]
    ZeroRefusals,
    /// The stack would do nothing.
    #[error(
        "nothing is switched on: add `.rotation(pool)`, `.retry(policy)`, `.models(chain)` or `.reporter(reporter)`"
    )]
    Nothing,
    /// There is no chain for a setting that speaks of models.
    #[error("`{0}` speaks of models, and there is no chain: add `.models(chain)`")]
    NoModels(&'static str),
    /// There is no pool for a setting that speaks of one.
    #[error("`{0}` speaks of a pool, and there is none: add `.rotation(pool)`")]
    NoPool(&'static str),
    /// There is no reporter to hold events back from.
    #[error("`coalesce` speaks of a reporter, and there is none: add `.reporter(reporter)`")]
    NoReporter,
    /// The window of `coalesce` cannot be.
    #[error(transparent)]
    Coalesce(#[from] CoalesceError),
}

impl BuildError {
    pub(crate) const fn attempts(attempts: u32) -> Result<u32, Self> {
        if attempts == 0 { Err(Self::ZeroAttempts) } else { Ok(attempts) }
    }

    pub(crate) const fn refusals(refusals: u32) -> Result<usize, Self> {
        if refusals == 0 { Err(Self::ZeroRefusals) } else { Ok(refusals as usize) }
    }
}
