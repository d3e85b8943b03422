//! The pool from outside, with time given.

mod apply;
mod build;
mod cases;
mod changes;
mod choosing;
mod defaults;
mod states;
mod support;
mod threads;
