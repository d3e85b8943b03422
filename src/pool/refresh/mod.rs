//! Calling an account's source: ask, task, answer.

pub(crate) mod answer;
pub(crate) mod ask;
pub(crate) mod task;
