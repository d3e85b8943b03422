//! Refusing to send what is known to be dead.

pub(crate) mod core;
pub(crate) mod memory;

pub(crate) use self::core::Gate;
pub(crate) use self::core::usual_names;
