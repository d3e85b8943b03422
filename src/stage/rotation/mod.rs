//! Which account serves: choosing one, charging it, and choosing another.

pub(crate) mod evidence;
pub(crate) mod select;
pub(crate) mod stage;

pub(crate) use self::{select::will_serve, stage::Rotation};
