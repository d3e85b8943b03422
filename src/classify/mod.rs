//! What an answer means: verdicts, the floor that no policy can lift, the generic table, server delays.
//!
//! The order is always the same:
//!
//! 1. the floor: 401, gRPC 16, what the generic table calls unauthorized, and the user's rules;
//! 2. the user's policy, which sees only what the floor let through;
//! 3. the generic table.

mod answer;
pub(crate) mod challenge;
mod classifier;
mod code;
pub(crate) mod content;
mod delay;
mod error_body;
mod error_code;
mod error_ref;
mod failure;
mod floor;
mod grpc;
mod non_auth;
mod policy;
mod table;
#[cfg(feature = "oauth")]
mod token_answer;
mod transport;
mod verdict;

pub(crate) use self::content::is_json;
#[cfg(feature = "oauth")]
pub(crate) use self::token_answer::{TokenAnswer, token_answer};
pub use self::{
    answer::Answer,
    classifier::Classifier,
    code::{Cause, Code, Origin},
    delay::server_delay,
    error_ref::ErrorRef,
    failure::FailureError,
    non_auth::{NonAuth, NonAuthError},
    policy::Policy,
    verdict::{Delivery, ModelFault, Reason, Verdict},
};
