// The README's program needs the feature `reqwest`; as a test of the documentation it is built with it.
#![cfg_attr(feature = "reqwest", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "reqwest"),
    doc = "Client-side failover for token-authenticated HTTP APIs: see the [guide]."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod adapter;
pub mod answer;
pub mod body;
pub mod classify;
mod clock;
pub mod credential;
mod driver;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
mod layer;
pub mod pool;
pub mod report;
mod stage;
mod sync;
#[doc(hidden)]
pub mod testing;

/// Puts a credential of a pool on each request, and uses another account when it is rejected.
///
/// | verdict | the layer |
/// | --- | --- |
/// | unauthorized | quarantines the account or awaits its new token, then uses the next account |
/// | limited, out of quota | cools the account down, then uses the next account |
/// | forbidden | passes the answer on, unless `rotate_forbidden` is set |
/// | others | passes the answer on |
///
/// A request is bound to an account with [`RequestOptions::pin`].
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use tower_failover::{Account, Credential, Pool, TokenRotationLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // An upstream that rejects the token of alice.
/// let upstream = service_fn(|request: Request<Full<Bytes>>| async move {
///     let rejected = request.headers()["authorization"] == "Bearer tok-alice";
///     let answer = Response::builder().status(if rejected { 401 } else { 200 });
///     Ok::<_, BoxError>(answer.body(Full::<Bytes>::default())?)
/// });
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
///     .account(Account::new("bob", Credential::bearer("tok-bob")?))
///     .origins(["https://api.example.com"])
///     .build()?;
/// let service = TokenRotationLayer::new(pool).layer(upstream);
///
/// let request = Request::get("https://api.example.com/videos").body(Full::default())?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub mod rotation {
    #[doc(inline)]
    pub use crate::{
        layer::{TokenRotation, TokenRotationLayer},
        stage::AccountPin,
    };
}

/// Keeps rejected credentials from being sent: such a request is answered locally at once.
///
/// | state | the layer |
/// | --- | --- |
/// | some account of its pool is usable | sends the request |
/// | all accounts are rejected or retired | answers with a 401 |
/// | all accounts cool down | answers with a 429 and `Retry-After` |
/// | without a pool: the request's credential was rejected | answers with a 401 until its next probe |
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use tower_failover::{AuthShortCircuitLayer, classify::Origin, failure};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let upstream = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, BoxError>(Response::builder().status(401).body(Full::<Bytes>::default())?)
/// });
/// let service = AuthShortCircuitLayer::new().any_credential().layer(upstream);
/// let request = || {
///     let request = Request::get("https://api.example.com/").header("authorization", "Bearer dead");
///     request.body(Full::<Bytes>::default())
/// };
///
/// let first = service.clone().oneshot(request()?).await?;
/// assert!(failure(&first).is_none_or(|cause| cause.origin == Origin::Upstream));
/// // The credential is not sent a second time.
/// let second = service.oneshot(request()?).await?;
/// assert_eq!(failure(&second).map(|cause| cause.origin), Some(Origin::Local));
/// # Ok(())
/// # }
/// ```
pub mod short_circuit {
    #[doc(inline)]
    pub use crate::{
        driver::AuthFailureMode,
        layer::{AuthShortCircuit, AuthShortCircuitLayer},
    };
}

/// Resends after transient failures, with backoff, a budget and a deadline.
///
/// | type | task |
/// | --- | --- |
/// | [`RetryLayer`] | the layer |
/// | [`RetryPolicy`] | says when to resend; also a `tower::retry::Policy` |
/// | [`Backoff`](retry::Backoff), [`Jitter`](retry::Jitter) | the delay before a retry |
/// | [`Budget`](retry::Budget), [`TokenBucket`](retry::TokenBucket), [`WindowBudget`](retry::WindowBudget) | limit retries over all requests |
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use tower_failover::{RetryLayer, RetryPolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// // An upstream that is down for the first attempt.
/// let down = std::sync::atomic::AtomicBool::new(true);
/// let down = std::sync::Arc::new(down);
/// let upstream = service_fn(move |_: Request<Full<Bytes>>| {
///     let down = down.swap(false, std::sync::atomic::Ordering::Relaxed);
///     let answer = Response::builder().status(if down { 503 } else { 200 });
///     std::future::ready(answer.body(Full::<Bytes>::default()).map_err(BoxError::from))
/// });
/// let service = RetryLayer::new(RetryPolicy::new().retries(3)).layer(upstream);
///
/// let request = Request::get("https://api.example.com/videos").body(Full::default())?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub mod retry {
    #[cfg(feature = "tower")]
    #[doc(inline)]
    pub use crate::adapter::RetryWait;
    #[doc(inline)]
    pub use crate::{
        layer::{Retry, RetryLayer},
        stage::{
            Backoff, BackoffError, Budget, BudgetError, Cost, Jitter, RetryPolicy, TokenBucket,
            Unlimited, WindowBudget,
        },
    };
}

/// Sends the original request again with the next model of a chain when a model cannot serve.
///
/// | type | task |
/// | --- | --- |
/// | [`ModelFallbackLayer`] | the layer |
/// | [`ModelChain`] | which models follow which |
/// | [`ModelAt`](fallback::ModelAt), [`ModelAccess`](fallback::ModelAccess) | where a request names its model |
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use tower_failover::{ModelChain, ModelFallbackLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // An upstream whose large model is overloaded.
/// let upstream = service_fn(|request: Request<Full<Bytes>>| async move {
///     let body = request.into_body().collect().await?.to_bytes();
///     let large = body.windows(7).any(|part| part == b"\"large\"");
///     let answer = Response::builder().status(if large { 529 } else { 200 });
///     Ok::<_, BoxError>(answer.body(Full::<Bytes>::default())?)
/// });
/// let service = ModelFallbackLayer::new(ModelChain::list(["large", "small"])?).layer(upstream);
///
/// let request = Request::post("https://api.example.com/videos")
///     .body(Full::from(r#"{"model": "large", "prompt": "a sunrise"}"#))?;
/// assert_eq!(service.oneshot(request).await?.status(), 200);
/// # Ok(())
/// # }
/// ```
pub mod fallback {
    #[doc(inline)]
    pub use crate::{
        layer::{ModelFallback, ModelFallbackLayer},
        stage::{ModelAccess, ModelAt, ModelChain, ModelChainError, Rewritten},
    };
}

/// Reports every failed request exactly once, with all of its attempts.
///
/// A success reports nothing. A request that is dropped after a failed attempt is reported as
/// abandoned. The events and the reporters are in [`report`].
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
/// use tower_failover::{ErrorDedupLayer, Event, RetryLayer, report};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let upstream = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, BoxError>(Response::builder().status(503).body(Full::<Bytes>::default())?)
/// });
/// let (reporter, mut events) = report::channel(8);
/// let service = ServiceBuilder::new()
///     .layer(ErrorDedupLayer::new(reporter))
///     .layer(RetryLayer::default())
///     .service(upstream);
///
/// let request = Request::get("https://api.example.com/videos").body(Full::default())?;
/// assert_eq!(service.oneshot(request).await?.status(), 503);
/// // One event, with the first attempt and two retries.
/// let Some(Event::RequestFailed(record)) = events.try_recv() else { panic!("no report") };
/// assert_eq!(record.trail.len(), 3);
/// assert!(events.try_recv().is_none());
/// # Ok(())
/// # }
/// ```
pub mod dedup {
    #[doc(inline)]
    pub use crate::layer::{ErrorDedup, ErrorDedupLayer};
}

/// All layers fused into one, from one builder.
///
/// ```
/// use tower_failover::{Account, BuildError, Credential, FailoverLayer, Pool, RetryPolicy};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder()
///     .account(Account::new("alice", Credential::bearer("tok-alice")?))
///     .origins(["https://api.example.com"])
///     .build()?;
/// let layer = FailoverLayer::builder().rotation(pool).retry(RetryPolicy::new()).build()?;
/// # drop(layer);
///
/// // A layer that does nothing is an error.
/// let nothing: Result<_, BuildError> = FailoverLayer::builder().build();
/// assert!(nothing.is_err());
/// # Ok(())
/// # }
/// ```
pub mod failover {
    #[doc(inline)]
    pub use crate::{
        driver::ResponseFuture,
        layer::{BuildError, Failover, FailoverBuilder, FailoverLayer},
        stage::RequestOptions,
    };
}

/// The stages of each layer: parameters of its future's type, without public methods.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        layer::Stages,
        stage::{Gate, Models, Rotation},
    };
}

#[doc(inline)]
pub use self::{
    adapter::failure,
    answer::ServedBy,
    classify::{Cause, Classifier, Code, Policy, Reason, Verdict},
    credential::{Account, Credential},
    layer::{
        AuthShortCircuitLayer, BuildError, ErrorDedupLayer, Failover, FailoverLayer,
        ModelFallbackLayer, RetryLayer, TokenRotationLayer,
    },
    pool::Pool,
    report::{Event, Reporter},
    stage::{ModelChain, RequestOptions, RetryPolicy},
};
