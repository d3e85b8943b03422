//! Falling back to another model: which one comes next, and where a request names it.

mod chain;
mod core;
mod custom;
pub(crate) mod json;
mod location;
mod wanted;

pub(crate) use self::wanted::{Model, Wanted};
pub use self::{
    chain::{ModelChain, ModelChainError},
    core::{Models, ModelsState},
    custom::{ModelIn, Rewritten},
    location::ModelAt,
};
