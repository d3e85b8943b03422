//! Which account serves: choosing one, charging it, and choosing another.

pub(crate) mod core;
pub(crate) mod pick;
pub(crate) mod verdicts;

pub(crate) use self::{core::Rotation, pick::will_serve};
