//! The one loop: it sends, has the answer judged, asks the stages, and sends again.

pub(crate) mod attempt;
pub(crate) mod classify;
pub(crate) mod config;
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
pub(crate) mod start;

pub use self::{config::AuthFailureMode, future::ResponseFuture};
pub(crate) use self::{
    config::{Config, Settings},
    handoff::Handoff,
    service::Driver,
};
