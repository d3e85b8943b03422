//! The accounts that may serve: what each may do now, and who serves next.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod builder;
pub(crate) mod error;
pub(crate) mod expiry_watch;
pub(crate) mod handle;
#[cfg(feature = "job-ids")]
pub(crate) mod ids;
pub(crate) mod index;
#[cfg(feature = "job-ids")]
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod origin;
pub(crate) mod refresh;
pub(crate) mod select;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod validate;
pub(crate) mod view;
pub(crate) mod wait;

#[cfg(test)]
mod tests;

#[cfg(feature = "job-ids")]
pub use self::job::{
    error::{JobIdError, UpstreamIdError},
    ids::{Job, JobIds},
};
pub(crate) use self::{admin::AdminState, origin::Origins, settings::Sources, wait::ChangeWait};
pub use self::{
    builder::PoolBuilder,
    error::{OriginFault, PoolError},
    expiry_watch::PoolChanges,
    handle::Pool,
    settings::{Cascade, Order, OwnCredential, Quarantine, Selection},
    view::{AccountView, Counts, ModelCooldown, PoolView, State},
    wait::NotReady,
};
