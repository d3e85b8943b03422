//! Adapters between the layers and other libraries.
//!
//! | item | task |
//! | --- | --- |
//! | [`failure`] | finds the typed cause of an answer |
//! | [`FailureToErrLayer`] | turns an answer with a cause into an `Err` |
//! | `ReqwestService` (feature `reqwest`) | a `reqwest::Client` for requests of the crate `http` |
//!
//! ```
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_failover::{Cause, Code, adapter::FailureToErrLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let answers = service_fn(|_: http::Request<()>| async {
//!     let mut answer = http::Response::new(());
//!     answer.extensions_mut().insert(Cause::local(Code::CredentialRevoked));
//!     Ok::<_, BoxError>(answer)
//! });
//! let service = ServiceBuilder::new().layer(FailureToErrLayer::new()).service(answers);
//! let error = service.oneshot(http::Request::new(())).await.unwrap_err();
//! assert!(error.to_string().contains("credential_revoked"));
//! # }
//! ```

pub(crate) mod failure_to_err;
#[cfg(feature = "reqwest")]
pub(crate) mod reqwest;
#[cfg(feature = "tower")]
pub(crate) mod tower_retry;

pub use self::failure_to_err::{FailureToErr, FailureToErrFuture, FailureToErrLayer, failure};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{ReqwestFuture, ReqwestService};
#[cfg(feature = "tower")]
pub use self::tower_retry::RetryWait;
