//! How long a server asks to wait.

pub(crate) mod delay;

#[cfg(feature = "oauth")]
pub(crate) use self::delay::server_delay;
