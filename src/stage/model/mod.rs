//! The model of a request: its location in the request, and its replacement.

pub(crate) mod access;
pub(crate) mod json;
pub(crate) mod location;
pub(crate) mod lookup;

pub(crate) use self::{
    access::Rewritten,
    location::ModelAt,
    lookup::{Model, ModelLookup},
};
