//! Request bodies that can be sent again, and the response body of every layer.

pub(crate) mod buffered;
pub(crate) mod filling;
pub(crate) mod keep;
pub(crate) mod peek;
pub(crate) mod replay;
pub(crate) mod response;

pub(crate) use self::peek::{Peek, PeekLimits};
pub use self::{
    buffered::{Buffered, BufferedAs, TryCloned},
    filling::Filling,
    keep::{Cloned, InMemory, Keep, Kept, Never, SendOnce, Spare, Started},
    replay::{ReplayBody, WholeBody},
    response::FailoverBody,
};
