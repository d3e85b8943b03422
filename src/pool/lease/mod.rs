//! An account that is checked out for an attempt, and what the attempt shows about it.

pub(crate) mod admitted;
pub(crate) mod apply;
pub(crate) mod in_flight;
pub(crate) mod lease;
pub(crate) mod verdicts;

pub(crate) use self::{
    admitted::Admitted,
    apply::carries_own,
    in_flight::{InFlight, Paused},
    lease::Lease,
};
