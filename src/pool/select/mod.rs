//! Which account serves a request.

pub(crate) mod query;
pub(crate) mod search;
pub(crate) mod strategy;
pub(crate) mod unavailable;

pub(crate) use self::{
    query::{Avoid, Pin, Query, Refusal, Unavailable},
    search::Search,
};
