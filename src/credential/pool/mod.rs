//! The accounts that may serve: what each may do now, and who serves next.

mod apply;
mod bench;
mod bits;
mod builder;
mod choose;
mod cursor;
mod due;
mod error;
mod handle;
mod hub;
mod models;
mod origin;
mod pick;
mod picked;
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
mod weighted;
mod word;
mod writer;

#[cfg(test)]
mod tests;

pub use self::{
    bench::choose,
    builder::PoolBuilder,
    error::{OriginFault, PoolError},
    handle::Pool,
    picked::InFlight,
    settings::{Cascade, Choose, Order, OwnCredential, Quarantine},
    view::{AccountView, Counts, ModelRest, PoolView, State},
};
pub(crate) use self::{
    picked::{Admitted, Picked},
    want::{Avoid, Nobody, Pin, Unavailable, Want},
};
