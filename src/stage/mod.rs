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
pub(crate) mod retry;
pub(crate) mod rotation;
pub(crate) mod stage;

pub use self::{
    facts::{Ask, Chosen, Draft, Facts, Next, Stamp, Success},
    gate::stage::{Gate, GateState},
    model::{
        access::{ModelAccess, Rewritten},
        location::ModelAt,
    },
    models::{
        chain::{ModelChain, ModelChainError},
        stage::{Models, ModelsState},
    },
    options::{AccountPin, RequestOptions},
    retry::{
        backoff::{Backoff, BackoffError, Jitter},
        budget::{Budget, Cost, TokenBucket, Unlimited},
        policy::RetryPolicy,
        session::Session,
        window::{BudgetError, WindowBudget},
    },
    rotation::stage::{Rotation, RotationState},
    stage::Stage,
};
pub(crate) use self::{
    handle::Handle,
    ledger::{InnerOutcome, Ledger},
    limits::Limits,
    model::{Model, ModelLookup},
    stage::sealed,
};
