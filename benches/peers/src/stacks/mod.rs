//! The stacks, each in the idiomatic form of its library.

pub mod failover;
pub mod keys;
pub mod nested_tower;
pub mod one_clone;
pub mod reqwest_middleware;
pub mod tower_resilience;
pub mod tower_retry;
