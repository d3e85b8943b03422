//! Which account serves: choosing one, charging it, and choosing another.

mod core;
mod pick;
mod verdicts;

pub use self::core::{Rotation, RotationState};
pub(crate) use self::pick::will_serve;
