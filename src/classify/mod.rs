//! The meaning of an answer or an error: a [`Verdict`], from which all stages decide.
//!
//! A verdict is found in this order:
//!
//! 1. the floor: 401, gRPC 16, whatever else the generic table calls unauthorized, and the user's rules;
//! 2. the user's [`Policy`], which sees only what the floor lets through;
//! 3. the generic table.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use http::Response;
//! use tower_failover::{
//!     Classifier, Code, Reason, Verdict,
//!     classify::{Delivery, ModelFault},
//! };
//!
//! let classifier = Classifier::default();
//! let verdict = |status: u16, body: &str| {
//!     let answer = Response::builder().status(status).header("content-type", "application/json");
//!     let (head, ()) = answer.body(()).unwrap().into_parts();
//!     classifier.classify(&head, Some(body.as_bytes()), SystemTime::UNIX_EPOCH)
//! };
//!
//! // A rejected credential has one code in verdicts, events, the pool's view and local answers.
//! let revoked = verdict(401, r#"{"error":{"code":"token_revoked"}}"#);
//! assert_eq!(revoked, Verdict::Unauthorized(Reason::Revoked));
//! assert_eq!(revoked.as_str(), "credential_revoked");
//! assert_eq!(Code::from(Reason::Revoked).as_str(), "credential_revoked");
//!
//! // 503 did no work, 500 may have done it.
//! assert_eq!(verdict(503, "").delivery(), Delivery::Refused);
//! assert_eq!(verdict(500, "").delivery(), Delivery::PerhapsDone);
//!
//! let busy = verdict(529, r#"{"error":{"details":[{"retryDelay":"3s"}]}}"#);
//! assert_eq!(busy.delay(), Some(Duration::from_secs(3)));
//! assert!(matches!(busy, Verdict::ModelFault { fault: ModelFault::Overloaded, .. }));
//! ```

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
