//! What is reported.

pub(crate) mod attempt;
pub(crate) mod event;
pub(crate) mod incident;
pub(crate) mod token;

#[cfg(test)]
pub(crate) use self::attempt::NotResent;
pub(crate) use self::{
    attempt::Attempt,
    event::{Coalesced, Event, Outcome, RequestRecord},
    incident::{AccountOut, AccountTag, OutReason, PoolDead},
};
#[cfg(feature = "tracing")]
pub(crate) use self::{
    attempt::Followed,
    event::Severity,
    token::{TokenEvent, TokenEventKind},
};
