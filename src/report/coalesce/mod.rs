//! Coalescing: of many similar failures, the first is reported, and then the number of the others.

pub(crate) mod coalesce;
pub(crate) mod fingerprint;
pub(crate) mod timer;
pub(crate) mod windows;
