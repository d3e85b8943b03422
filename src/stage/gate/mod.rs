//! Refusing to send what is known to be dead.

pub(crate) mod memory;
pub(crate) mod stage;

pub(crate) use self::stage::Gate;
pub(crate) use self::stage::default_credential_headers;
