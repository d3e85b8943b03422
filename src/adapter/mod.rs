//! Adapters between this crate and other libraries.

pub(crate) mod failure_to_err;
#[cfg(feature = "reqwest")]
pub(crate) mod reqwest;
#[cfg(feature = "tower")]
pub(crate) mod tower_retry;

pub use self::failure_to_err::{FailureToErr, FailureToErrFuture, FailureToErrLayer, failure};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{ReqwestFuture, ReqwestService};
#[cfg(feature = "tower")]
pub use self::tower_retry::RetryWait;
