//! The fuzz targets. A target that finds a fault panics.
//!
//! `cargo +nightly fuzz run delay` runs one; a finding becomes a named test of the crate.

pub mod challenge;
pub mod delay;
pub mod json;
pub mod jwt;
pub mod request;

#[cfg(test)]
mod tests;
