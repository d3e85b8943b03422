//! Falling back to another model: which one comes next.

pub(crate) mod chain;
pub(crate) mod stage;

pub(crate) use self::{chain::ModelChain, stage::Models};
