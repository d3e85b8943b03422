//! Request and response bodies of every kind: each attempt and the caller get exactly the bytes
//! sent, and every body reports its size and end correctly.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod awaited;
mod body_plan;
mod clones;
mod requests;
mod streams;
