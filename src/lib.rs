//! Tower layers for token-authenticated HTTP APIs.
#![allow(dead_code, unused_imports)]

pub mod classify {
    //! What an answer means.
    mod code;
    mod verdict;
    pub use self::{code::*, verdict::*};
}
mod clock;
pub mod report;
