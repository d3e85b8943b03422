//! The state that all handles of a pool share, and what is reported from it.

pub(crate) mod incidents;
pub(crate) mod publish;
pub(crate) mod redaction;
pub(crate) mod registry;
pub(crate) mod shared;

pub(crate) use self::shared::{Change, NoAccount, Settings, Shared};
