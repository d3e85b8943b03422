//! Job ids that carry their account.

pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod key;
pub(crate) mod sealed;

#[cfg(test)]
mod tests;
