//! The driver of every layer: it sends a request, classifies the answer, asks the stages what comes
//! next, and sends again.

pub(crate) mod attempt;
pub(crate) mod classify;
pub(crate) mod config;
pub(crate) mod consult;
pub(crate) mod decide;
pub(crate) mod exchange;
pub(crate) mod finish;
pub(crate) mod future;
pub(crate) mod handoff;
pub(crate) mod limits;
pub(crate) mod model_source;
pub(crate) mod outcome;
pub(crate) mod report;
pub(crate) mod scratch;
pub(crate) mod service;
pub(crate) mod shared;
pub(crate) mod start;
pub(crate) mod state;

pub use self::{config::AuthFailureMode, future::ResponseFuture};
pub(crate) use self::{
    config::{Config, Settings},
    service::Driver,
};
