//! One account of a pool: its credential, state, source and cooldowns.

pub(crate) mod account;
pub(crate) mod cooldown;
pub(crate) mod entry;
pub(crate) mod generation;
pub(crate) mod kept;
pub(crate) mod lifetime;
pub(crate) mod model_cooldowns;
pub(crate) mod renewal;
pub(crate) mod single_flight;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod strikes;
pub(crate) mod transitions;

pub(crate) use self::{
    account::{Base, PooledAccount, Registered},
    cooldown::{Cooldowns, millis},
    entry::Entry,
    generation::Generation,
    model_cooldowns::{ModelCooldowns, TriedModel},
    single_flight::{Begin, End},
    state::{GenerationState, Kind, Since},
};
