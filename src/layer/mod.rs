//! The public layers and services: each is the driver with its stage.

pub(crate) mod auth_short_circuit;
pub(crate) mod build_error;
pub(crate) mod builder;
pub(crate) mod error_dedup;
pub(crate) mod failover;
pub(crate) mod model_fallback;
pub(crate) mod retry;
pub(crate) mod shell;
pub(crate) mod token_rotation;

#[cfg(test)]
mod tests;

pub use self::{
    auth_short_circuit::{AuthShortCircuit, AuthShortCircuitLayer},
    build_error::BuildError,
    builder::FailoverBuilder,
    error_dedup::{ErrorDedup, ErrorDedupLayer},
    failover::{Failover, FailoverLayer, Stages},
    model_fallback::{ModelFallback, ModelFallbackLayer},
    retry::{Retry, RetryLayer},
    token_rotation::{TokenRotation, TokenRotationLayer},
};
