//! The decisions after a verdict: one pure stage for each layer.

pub(crate) mod compose;
pub(crate) mod facts;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod resend;
pub(crate) mod retry;
pub(crate) mod rotation;
pub(crate) mod stage;

pub(crate) use self::{
    facts::{Ask, Chosen, Draft, Facts, Next, Stamp, Success},
    handle::Handle,
    ledger::{InnerOutcome, Ledger},
    limits::Limits,
    model::{Model, ModelLookup},
    stage::Stage,
};
pub use self::{
    gate::gate::Gate,
    model::{
        access::{ModelAccess, Rewritten},
        location::ModelAt,
    },
    models::{
        chain::{ModelChain, ModelChainError},
        fallback::Models,
    },
    options::{AccountPin, RequestOptions},
    retry::{
        backoff::{Backoff, BackoffError, Jitter},
        budget::{Budget, Cost, TokenBucket, Unlimited},
        policy::RetryPolicy,
        window::{BudgetError, WindowBudget},
    },
    rotation::rotation::Rotation,
};
