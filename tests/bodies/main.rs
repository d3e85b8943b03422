//! Request and response bodies of every kind, through the layers: each attempt and the caller get
//! exactly the sent data, and the size hint of every body is correct.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod awaited;
mod body_plan;
mod clones;
mod requests;
mod streams;
