#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod classify;
mod clock;
pub mod credential;
mod driver;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub mod report;
mod stage;

/// What stands in public bounds and is of no use outside.
#[doc(hidden)]
pub mod internals {
    pub use crate::{
        credential::{InFlight, choose},
        driver::Stages,
        stage::{
            Ask, Draft, Facts, Gate, GateState, Models, ModelsState, Next, Rotation, RotationState,
            Session, Stage, Stamp, Success,
        },
    };
}

#[doc(inline)]
pub use self::{
    classify::{
        Answer, Cause, Classifier, Code, Delivery, ErrorRef, FailureError, ModelFault, NonAuth,
        NonAuthError, Origin, Policy, Reason, Verdict, server_delay,
    },
    credential::{Account, Credential, Pool},
    driver::{
        AuthFailureMode, AuthShortCircuit, AuthShortCircuitLayer, Buffered, BufferedAs, BuildError,
        Cloned, ErrorDedup, ErrorDedupLayer, Failover, FailoverBody, FailoverBuilder,
        FailoverLayer, FailureToErr, FailureToErrFuture, FailureToErrLayer, Filling, InMemory,
        Keep, Kept, ModelFallback, ModelFallbackLayer, Never, Once, Problem, ReplayBody,
        ResponseFuture, Retry, RetryLayer, ServedBy, Spare, Started, TokenRotation,
        TokenRotationLayer, TryCloned, WholeBody, failure,
    },
    report::{Event, Reporter},
    stage::{
        AccountPin, Backoff, BackoffError, Budget, BudgetError, Cost, Jitter, ModelAt, ModelChain,
        ModelChainError, ModelIn, RequestOptions, RetryPolicy, Rewritten, TokenBucket,
        WindowBudget,
    },
};

#[cfg(feature = "job-ids")]
#[doc(inline)]
pub use self::credential::{Job, JobIdError, JobIds, UpstreamIdError};

#[cfg(feature = "tower")]
#[doc(inline)]
pub use self::driver::RetryWait;
#[cfg(feature = "reqwest")]
#[doc(inline)]
pub use self::driver::{ReqwestFuture, ReqwestService};
