//! Fallback: selects the next model of the chain.

pub(crate) mod chain;
pub(crate) mod fallback;

pub(crate) use self::{chain::ModelChain, fallback::Models};
