//! The limits of one layer or request.

use std::time::Duration;

/// The limits that a user has set on one layer or request; `None` is not set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) attempts: Option<u32>,
    pub(crate) deadline: Option<Duration>,
}

impl Limits {
    /// Returns the smaller limit of both, where at least one is set.
    pub(super) fn least(self, other: Self) -> Self {
        let attempts = self.attempts.into_iter().chain(other.attempts).min();
        let deadline = self.deadline.into_iter().chain(other.deadline).min();
        Self { attempts, deadline }
    }
}
