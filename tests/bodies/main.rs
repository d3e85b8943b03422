//! Request and response bodies of every kind, through the layers: each attempt and the caller get
//! exactly what was sent, and every body says the truth about itself.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod clones;
mod plan;
mod requests;
mod slow;
mod streams;
