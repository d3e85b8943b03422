//! The pool from outside, with time given.

mod admin;
mod answers;
mod apply;
mod asking;
mod build;
mod cases;
mod changes;
mod choosing;
mod defaults;
mod fresh;
mod looking;
#[cfg(failover_loom)]
mod loom_flight;
#[cfg(failover_loom)]
mod loom_models;

mod refreshing;
mod shown;
mod sources;
mod states;
mod sticky;
mod support;
mod threads;
mod watching;
mod withheld;
