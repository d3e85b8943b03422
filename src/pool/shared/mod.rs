//! The state that all handles of a pool share, and what is reported from it.

pub(crate) mod incidents;
pub(crate) mod redaction;
pub(crate) mod shared;

pub(crate) use self::{
    redaction::MANY_SECRETS,
    shared::{Change, Settings, Shared},
};
