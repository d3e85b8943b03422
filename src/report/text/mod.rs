//! Foreign text in events: quoted, shortened, redacted.

pub(crate) mod duration;
pub(crate) mod filter;
pub(crate) mod foreign;
pub(crate) mod forms;
pub(crate) mod line;
pub(crate) mod redact;

#[cfg(test)]
pub(crate) use self::filter::NoSecrets;
pub(crate) use self::{
    duration::{Elapsed, whole_seconds},
    filter::{Filter, Redact},
    foreign::foreign,
    line::{OneLine, Quoted},
};
