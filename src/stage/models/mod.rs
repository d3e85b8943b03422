//! Fallback: selects the next model of the chain.

pub(crate) mod chain;
pub(crate) mod stage;

pub(crate) use self::{chain::ModelChain, stage::Models};
