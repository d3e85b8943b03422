//! The one loop: it sends, has the answer judged, asks the stages, and sends again.

mod adapter;
mod body;
mod build_error;
mod builder;
mod config;
mod future;
mod judge;
mod keep;
mod layers;
mod local;
mod nap;
mod peek;
mod problem;
mod run;
mod served;
mod service;
mod settle;
mod shell;
mod snapshot;
mod tell;
#[cfg(feature = "tower")]
mod tower_policy;

#[cfg(feature = "tower")]
pub use self::tower_policy::RetryWait;
pub use self::{
    adapter::{FailureToErr, FailureToErrFuture, FailureToErrLayer, failure},
    body::FailoverBody,
    build_error::BuildError,
    builder::FailoverBuilder,
    config::AuthFailureMode,
    future::ResponseFuture,
    keep::{Cloned, Keep, Once, Spare},
    layers::{
        AuthShortCircuit, AuthShortCircuitLayer, ErrorDedup, ErrorDedupLayer, Failover,
        FailoverLayer, Retry, RetryLayer, Stages, TokenRotation, TokenRotationLayer,
    },
    problem::Problem,
    served::ServedBy,
};
