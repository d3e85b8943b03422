//! Errors of a layer's settings.

use crate::report::CoalesceError;

/// Why a layer cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The stack would do nothing.
    #[error(
        "nothing is switched on: add `.rotation(pool)`, `.retry(policy)`, `.models(chain)` or `.reporter(reporter)`"
    )]
    Nothing,
    /// A setting needs a chain of models.
    #[error("`{0}` needs a chain of models: add `.models(chain)`")]
    NoModels(&'static str),
    /// A setting needs a pool.
    #[error("`{0}` needs a pool: add `.rotation(pool)`")]
    NoPool(&'static str),
    /// A setting needs a reporter.
    #[error("`coalesce` needs a reporter: add `.reporter(reporter)`")]
    NoReporter,
    /// The window of `coalesce` is out of range.
    #[error(transparent)]
    Coalesce(#[from] CoalesceError),
}
