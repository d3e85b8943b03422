//! What to do about a verdict: a pure core for each layer.

pub(crate) mod compose;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod ledger;
pub(crate) mod model_lookup;
pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod retry;
pub(crate) mod rotation;
pub(crate) mod stage;

pub use self::{
    gate::core::{Gate, GateState},
    models::{
        chain::{ModelChain, ModelChainError},
        core::{Models, ModelsState},
        custom::{ModelIn, Rewritten},
        location::ModelAt,
    },
    options::{AccountPin, RequestOptions},
    retry::{
        backoff::{Backoff, BackoffError, Jitter},
        budget::{Budget, Cost, TokenBucket},
        core::Session,
        policy::RetryPolicy,
        window::{BudgetError, WindowBudget},
    },
    rotation::core::{Rotation, RotationState},
    stage::{Ask, Draft, Facts, Next, Stage, Stamp, Success},
};
pub(crate) use self::{
    handle::Handle,
    ledger::{Ledger, Limits, Note},
    model_lookup::{Model, Wanted},
    stage::sealed,
};
