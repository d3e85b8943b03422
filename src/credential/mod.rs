//! Who is asking: accounts, secrets, and the pool with its states.

mod account;
mod pool;
mod secret;

#[doc(hidden)]
pub use self::pool::{InFlight, choose};
pub(crate) use self::pool::{Avoid, Nobody, Picked, Pin, Unavailable, Want};
pub use self::{
    account::Account,
    pool::{
        AccountView, Cascade, Choose, Counts, ModelRest, Order, OriginFault, OwnCredential, Pool,
        PoolBuilder, PoolError, PoolView, Quarantine, State,
    },
    secret::{Credential, CredentialError},
};
