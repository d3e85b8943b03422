//! Text of others in events: quoted, shortened, redacted.

pub(crate) mod filter;
pub(crate) mod forms;
pub(crate) mod line;
pub(crate) mod redact;
pub(crate) mod text;

#[cfg(test)]
pub(crate) use self::filter::NoSecrets;
pub(crate) use self::{
    filter::{Filter, Redact},
    line::{Quoted, whole_seconds},
    text::foreign,
};
