//! Tower layers for token-authenticated HTTP APIs.
#![allow(dead_code, unused_imports)]

pub mod classify;
mod clock;
pub mod credential;
mod driver;
pub mod report;
mod stage;

pub use classify::{
    Answer, Cause, Classifier, Code, Delivery, ErrorRef, FailureError, ModelFault, NonAuth,
    NonAuthError, Origin, Policy, Reason, Verdict, server_delay,
};
