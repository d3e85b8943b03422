//! Waiting for a change of the pool, and watching the clock for it.

pub(crate) mod changes;
pub(crate) mod expiry;
pub(crate) mod wait;

pub use self::{changes::PoolChanges, wait::NotReady};
pub(crate) use self::{
    expiry::watch,
    wait::{ChangeWait, is_renewing, is_under_way, wait_ready},
};
