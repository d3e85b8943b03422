//! The accounts that may serve: what each may do now, and who serves next.

mod admitted;
mod ages;
mod apply;
mod bench;
mod bits;
mod builder;
mod checks;
mod choose;
mod cursor;
mod due;
mod error;
mod feed;
mod flight;
mod handle;
mod hub;
#[cfg(feature = "job-ids")]
mod ids;
mod in_flight;
mod incidents;
mod install;
mod kept;
mod models;
mod needs;
mod news;
mod origin;
mod pick;
mod picked;
mod question;
mod refresh;
mod renewal;
mod rests;
mod roster;
mod secrets;
mod settings;
mod shortage;
mod slot;
mod state;
mod sticky;
mod sync;
mod view;
mod want;
mod watch;
mod weighted;
mod word;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    admitted::Admitted,
    in_flight::Paused,
    news::News,
    picked::Picked,
    want::{Avoid, Pin, Unavailable, Want},
};
pub use self::{
    bench::choose,
    builder::PoolBuilder,
    error::{OriginFault, PoolError},
    handle::Pool,
    in_flight::InFlight,
    news::NotReady,
    settings::{Cascade, Choose, Order, OwnCredential, Quarantine},
    view::{AccountView, Counts, ModelRest, PoolView, State},
    watch::PoolChanges,
};
