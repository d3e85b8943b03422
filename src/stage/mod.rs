//! What to do about a verdict: a pure core for each layer.

mod compose;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod ledger;
pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod retry;
pub(crate) mod rotation;
#[allow(clippy::module_inception)] // The trait that gives the folder its name.
pub(crate) mod stage;

pub use self::{
    gate::{Gate, GateState},
    models::{ModelAt, ModelChain, ModelChainError, ModelIn, Models, ModelsState, Rewritten},
    options::{AccountPin, RequestOptions},
    retry::{
        Backoff, BackoffError, Budget, BudgetError, Cost, Jitter, RetryPolicy, Session,
        TokenBucket, WindowBudget,
    },
    rotation::{Rotation, RotationState},
    stage::{Ask, Draft, Facts, Next, Stage, Stamp, Success},
};
