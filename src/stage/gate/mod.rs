//! The short circuit: keeps rejected credentials from being sent.

pub(crate) mod gate;
pub(crate) mod memory;

pub(crate) use self::gate::{Gate, default_credential_headers};
pub(crate) use self::memory::REMEMBERED;
