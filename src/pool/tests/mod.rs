//! Tests of the pool with a given time.

mod admin;
mod answers;
mod apply;
mod build;
mod calls;
mod cases;
mod changes;
mod defaults;
mod expiry;
#[cfg(failover_loom)]
mod loom_flight;
#[cfg(failover_loom)]
mod loom_models;
mod races;
mod selection;

mod redaction;
mod refreshing;
mod sources;
mod states;
mod sticky;
mod support;
mod threads;
mod view;
mod watch;
