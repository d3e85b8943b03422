//! When a token ends, and when to look for the next one. Pure: times and chance are arguments.

mod daily;
mod expires;
mod jwt;
mod windows;

pub use self::{
    daily::{DailyTime, DailyTimeError},
    expires::Expires,
    jwt::jwt_expiry,
    windows::RefreshWindows,
};
pub(crate) use self::{expires::Life, windows::Times};
