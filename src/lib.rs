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

/// Puts a credential of the pool on each request, and uses another account when it is rejected.
pub mod rotation {
    #[doc(inline)]
    pub use crate::{
        layer::{TokenRotation, TokenRotationLayer},
        stage::AccountPin,
    };
}

/// Refuses to send a credential that is known to be dead, and answers in the upstream's place.
pub mod short_circuit {
    #[doc(inline)]
    pub use crate::{
        driver::AuthFailureMode,
        layer::{AuthShortCircuit, AuthShortCircuitLayer},
    };
}

/// Resends transient failures, with backoff, a budget and a deadline.
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
pub mod fallback {
    #[doc(inline)]
    pub use crate::{
        layer::{ModelFallback, ModelFallbackLayer},
        stage::{ModelAccess, ModelAt, ModelChain, ModelChainError, Rewritten},
    };
}

/// Reports every failed request exactly once.
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

/// Types that stand in public bounds and are of no use outside.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        layer::Stages,
        pool::lease::in_flight::InFlight,
        stage::{
            Ask, Draft, Facts, Gate, GateState, Models, ModelsState, Next, Rotation, RotationState,
            Session, Stage, Stamp, Success,
        },
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
