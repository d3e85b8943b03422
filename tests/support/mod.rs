//! Helpers that the integration tests share.

#![allow(dead_code, unused_imports)] // Not every test uses everything.
#![allow(clippy::unwrap_used)] // A test that panics has failed.

pub(crate) mod boxed;
pub(crate) mod cases;
pub(crate) mod frames;
pub(crate) mod recorder;
pub(crate) mod script;
pub(crate) mod sink;
pub(crate) mod stack;
pub(crate) mod upstream;

use std::num::NonZeroU32;

pub(crate) use self::{
    recorder::Recorder,
    stack::{get, pool, post},
    upstream::{Sent, Step, Upstream},
};

/// Builds a nonzero limit.
pub(crate) const fn limit(of: u32) -> NonZeroU32 {
    NonZeroU32::new(of).unwrap()
}
