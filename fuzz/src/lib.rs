//! What each fuzz target does with the fuzzer's bytes. A target that finds something panics.
//!
//! `cargo +nightly fuzz run delay` runs one; what it finds becomes a named test of the crate.

pub mod challenge;
pub mod delay;
pub mod json;
pub mod jwt;
pub mod request;

#[cfg(test)]
mod tests;
