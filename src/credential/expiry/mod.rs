//! When a token ends, and when to look for the next one. Pure: times and chance are arguments.

pub(crate) mod daily;
pub(crate) mod expires;
pub(crate) mod jwt;
pub(crate) mod windows;

pub(crate) use self::{
    expires::{Expires, Validity},
    windows::{RefreshSchedule, RefreshWindows},
};
