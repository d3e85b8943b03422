//! The expiry of tokens, and the schedule of their refresh. Pure: times and random numbers are arguments.

pub(crate) mod daily;
pub(crate) mod expires;
pub(crate) mod jwt;
pub(crate) mod windows;

pub(crate) use self::{
    expires::{Expires, Validity},
    windows::{RefreshSchedule, RefreshWindows},
};
