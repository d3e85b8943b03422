//! The accounts of a program: the state of each, and the selection of one for each attempt.
//!
//! | type | task |
//! | --- | --- |
//! | [`PoolBuilder`] | sets the accounts, their origins, the selection and the reporter |
//! | [`Pool`] | adds, replaces, retires and revives accounts at run time; its page has the [states](Pool#states) |
//! | [`PoolView`], [`AccountView`], [`State`] | show all accounts, for a status page |
//! | [`PoolChanges`] | yields a view after each change |
//! | [`Selection`], [`Order`] | which account serves next |
//! | [`Cascade`], [`Quarantine`] | the consequences of a rejected credential |
//! | [`OwnCredential`] | the treatment of a credential that the caller put on the request |
//! | `JobIds` (feature `job-ids`) | job ids that carry their account |
//!
//! ```
//! use tower_failover::{Account, Credential, Pool, pool::{Selection, State}};
//!
//! let pool = Pool::builder()
//!     .account(Account::new("alice", Credential::bearer("tok-alice")?))
//!     .account(Account::new("bob", Credential::bearer("tok-bob")?))
//!     .origins(["https://api.example.com"])
//!     .selection(Selection::FillFirst)
//!     .build()?;
//!
//! pool.retire("alice");
//! assert_eq!(pool.view().accounts[0].state, State::Retired);
//! pool.replace("alice", Credential::bearer("tok-alice-2")?)?;
//! assert_eq!(pool.view().accounts[0].state, State::Usable);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod builder;
pub(crate) mod error;
pub(crate) mod handle;
pub(crate) mod index;
#[cfg(feature = "job-ids")]
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod origin;
pub(crate) mod refresh;
pub(crate) mod select;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod view;
pub(crate) mod watch;

#[cfg(test)]
mod tests;

#[cfg(feature = "job-ids")]
pub use self::job::{
    error::{JobIdError, UpstreamIdError},
    ids::{Job, JobIds},
};
pub(crate) use self::watch::ChangeWait;
pub use self::{
    builder::PoolBuilder,
    error::{OriginFault, PoolError},
    handle::Pool,
    settings::{Cascade, Order, OwnCredential, Quarantine, Selection},
    view::{AccountView, Counts, ModelCooldown, PoolView, State},
    watch::{NotReady, PoolChanges},
};
