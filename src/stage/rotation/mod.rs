//! Rotation: selects an account, applies the verdict to it, and selects another one.

pub(crate) mod rotation;
pub(crate) mod select;
pub(crate) mod verdict;

pub(crate) use self::{rotation::Rotation, select::will_serve};
