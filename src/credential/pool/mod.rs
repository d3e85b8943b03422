//! The accounts that may serve.

mod settings;
mod skeleton;
mod want;

pub use self::{
    settings::{Cascade, Choose, Order, OwnCredential, Quarantine},
    skeleton::{AccountView, Counts, ModelRest, Pool, PoolBuilder, PoolError, PoolView, State},
};
pub(crate) use self::{
    skeleton::{InFlight, Picked},
    want::{Avoid, Nobody, Pin, Refusal, Unavailable, Want},
};
