//! The events and their parts.

pub(crate) mod attempt;
pub(crate) mod event;
pub(crate) mod incident;
pub(crate) mod request;
pub(crate) mod token;
