//! The one loop: it sends, has the answer judged, asks the stages, and sends again.

mod act;
mod adapter;
mod body;
mod buffer;
mod build_error;
mod builder;
mod config;
mod dedup;
#[cfg(test)]
mod defaults;
mod finish;
mod fused;
mod future;
mod held;
mod judge;
mod keep;
mod layers;
mod limits;
mod local;
mod nap;
mod outer;
mod peek;
mod problem;
mod reading;
mod replay;
#[cfg(feature = "reqwest")]
mod reqwest;
mod run;
mod served;
mod service;
mod settle;
mod shell;
mod slate;
mod snapshot;
mod source;
mod start;
mod tell;
#[cfg(feature = "tower")]
mod tower_policy;

#[cfg(feature = "reqwest")]
pub use self::reqwest::{ReqwestFuture, ReqwestService};
#[cfg(feature = "tower")]
pub use self::tower_policy::RetryWait;
pub use self::{
    adapter::{FailureToErr, FailureToErrFuture, FailureToErrLayer, failure},
    body::FailoverBody,
    buffer::{Buffered, BufferedAs, TryCloned},
    build_error::BuildError,
    builder::FailoverBuilder,
    config::AuthFailureMode,
    dedup::{ErrorDedup, ErrorDedupLayer},
    fused::{Failover, FailoverLayer, Stages},
    future::ResponseFuture,
    keep::{Cloned, InMemory, Keep, Kept, Never, Once, Spare, Started},
    layers::{
        AuthShortCircuit, AuthShortCircuitLayer, ModelFallback, ModelFallbackLayer, Retry,
        RetryLayer, TokenRotation, TokenRotationLayer,
    },
    problem::Problem,
    reading::Filling,
    replay::{ReplayBody, WholeBody},
    served::ServedBy,
};
