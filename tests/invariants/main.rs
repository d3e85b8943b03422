//! What must always hold, each under its name, over random worlds, stacks and schedules.

#[path = "../support/mod.rs"]
mod support;

mod run;
mod script;
mod stack;
mod upstream;
mod world;

mod i11_fused_equals_stacked;
