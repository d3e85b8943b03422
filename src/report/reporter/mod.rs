//! Receivers of events.

pub(crate) mod channel;
mod default;
pub(crate) mod reporter;
#[cfg(feature = "tracing")]
pub(crate) mod tracing;
