//! The tables of `tests/cases` that need more than a classifier: `config` sets a case up, `form`
//! selects its run, and every member of `expect` is checked.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/classification.rs"]
mod classification;

mod auth_short_circuit;
mod classified;
mod error_dedup;
mod expect;
mod model_fallback;
mod problem_json;
mod profile;
mod replay_body;
mod retry_backoff;
mod retry_budget;
mod rig;
mod script;
mod token_cache_refresh;
mod token_rotation_401;
mod tower_contract;
