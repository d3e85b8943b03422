//! Delays that a server asks for, and the formats in which it gives them.

pub(crate) mod dates;
pub(crate) mod delays;
pub(crate) mod durations;

pub(crate) use self::{
    delays::{requested, window_end},
    durations::protobuf_duration,
};
