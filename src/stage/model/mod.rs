//! The model of a request: where the request names it, and how another one takes its place.

pub(crate) mod access;
pub(crate) mod json;
pub(crate) mod location;
pub(crate) mod lookup;

pub(crate) use self::{
    access::Rewritten,
    location::ModelAt,
    lookup::{Model, ModelLookup},
};
