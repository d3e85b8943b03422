//! The short circuit: keeps rejected credentials from being sent.

pub(crate) mod memory;
pub(crate) mod stage;

pub(crate) use self::stage::{Gate, default_credential_headers};
