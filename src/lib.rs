//! Tower layers for token-authenticated HTTP APIs.
#![allow(dead_code)] // what the driver calls has no caller yet

mod classify;

pub use classify::{
    Answer, Cause, Classifier, Code, Delivery, ErrorRef, FailureError, ModelFault, NonAuth,
    NonAuthError, Origin, Policy, Reason, Verdict, server_delay,
};
