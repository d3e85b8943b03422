//! Job ids that know their account.

mod error;
mod ids;
mod key;
mod sealed;

#[cfg(test)]
mod tests;

pub use self::{
    error::{JobIdError, UpstreamIdError},
    ids::{Job, JobIds},
};
