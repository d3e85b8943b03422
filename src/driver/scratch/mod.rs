//! Recycled memory of a request in progress.

pub(crate) mod head;
pub(crate) mod scratch;

pub(crate) use self::{
    head::Snapshot,
    scratch::{RequestData, Scratch},
};
