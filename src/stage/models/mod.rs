//! Falling back to another model: which one comes next, and where a request names it.

pub(crate) mod chain;
pub(crate) mod core;
pub(crate) mod custom;
pub(crate) mod json;
pub(crate) mod location;

pub(crate) use self::{
    chain::ModelChain, core::Models, custom::Rewritten, json::Span, location::ModelAt,
};
