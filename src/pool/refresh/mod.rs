//! Calling the source of an account for another credential.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod task;

pub(crate) use self::{
    answer::reject,
    ask::{check_expiry, expire, refresh_beside_probe, renew, retire_expired},
};
