//! Rotation: selects an account, applies the verdict to it, and selects another one.

pub(crate) mod evidence;
pub(crate) mod select;
pub(crate) mod stage;

pub(crate) use self::{select::will_serve, stage::Rotation};
