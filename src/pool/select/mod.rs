//! Which account serves a request.

pub(crate) mod candidate;
pub(crate) mod query;
pub(crate) mod search;
pub(crate) mod strategy;
pub(crate) mod unavailable;

pub(crate) use self::{
    candidate::Search,
    query::{Avoid, Pin, Query, Unavailable},
    search::{can_serve, pick, pick_at, turn},
    unavailable::rejection,
};
