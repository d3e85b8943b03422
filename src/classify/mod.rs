//! What an answer means: verdicts, the floor that no policy can lift, the generic table, server delays.
//!
//! The order is always the same:
//!
//! 1. the floor: 401, gRPC 16, what the generic table calls unauthorized, and the user's rules;
//! 2. the user's policy, which sees only what the floor let through;
//! 3. the generic table.

pub(crate) mod answer;
pub(crate) mod challenge;
pub(crate) mod classifier;
pub(crate) mod code;
pub(crate) mod delay;
pub(crate) mod error_ref;
pub(crate) mod failure;
pub(crate) mod floor;
pub(crate) mod non_auth;
pub(crate) mod policy;
pub(crate) mod reason;
pub(crate) mod transport;
pub(crate) mod verdict;

pub use self::{
    answer::{answer::Answer, server_delay::server_delay},
    classifier::Classifier,
    code::{Cause, Code, Origin},
    error_ref::ErrorRef,
    failure::FailureError,
    non_auth::{NonAuth, NonAuthError},
    policy::Policy,
    reason::Reason,
    verdict::{Delivery, ModelFault, Verdict},
};
