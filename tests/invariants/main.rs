//! The invariants of the crate as property tests over random worlds, stacks and schedules.

// A failing helper fails the test; a world has many flags.
#![allow(
    clippy::unwrap_used,
    clippy::struct_excessive_bools,
    clippy::similar_names,
    clippy::format_push_string,
    clippy::format_collect
)]

#[path = "../support/mod.rs"]
mod support;

mod oracle;
mod request_body;
mod runner;
mod script;
mod sources;
mod stack;
mod upstream;
mod world;

mod counterexamples;
mod i01_no_retry_on_401;
mod i02_exactly_once;
mod i03_one_budget;
mod i04_no_loops;
mod i05_no_double_billing;
mod i06_clean_attempts;
mod i07_newest_truth;
mod i08_cooldowns_only_grow;
mod i09_secrets_stay_in;
mod i10_cancel_safe;
mod i11_fused_equals_stacked;
mod i12_own_credential;

mod sources_are_called_once;
