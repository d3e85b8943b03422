//! Who is asking: accounts, secrets, and the pool with its states.

mod account;
mod check;
mod pool;
mod secret;

pub(crate) use self::pool::{Avoid, InFlight, Nobody, Picked, Pin, Refusal, Unavailable, Want};
pub use self::{
    account::Account,
    check::CredentialError,
    pool::{
        AccountView, Cascade, Choose, Counts, ModelRest, Order, OriginFault, OwnCredential, Pool,
        PoolBuilder, PoolError, PoolView, Quarantine, State,
    },
    secret::Credential,
};
