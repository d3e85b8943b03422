//! Holding back what was told already, and saying how much of it there was.

mod adapter;
mod fingerprint;
mod timer;
mod windows;

pub use self::adapter::{Coalesce, CoalesceError};
