//! Where events go.

pub(crate) mod channel;
pub(crate) mod reporter;
#[cfg(feature = "tracing")]
pub(crate) mod tracing;

pub(crate) use self::reporter::{Reporter, ReporterHandle};
