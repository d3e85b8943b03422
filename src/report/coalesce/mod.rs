//! Holding back what was told already, and saying how much of it there was.

pub(crate) mod coalesce;
pub(crate) mod fingerprint;
pub(crate) mod timer;
pub(crate) mod windows;
