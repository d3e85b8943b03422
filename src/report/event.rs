//! What is told: failed requests and incidents.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};

use super::attempt::Attempt;
use crate::classify::{Code, Reason};

/// How urgent an event is; the tracing reporter uses the level of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// For whoever looks closely.
    Debug,
    /// An account needs a person.
    Warn,
    /// Requests fail.
    Error,
}

/// One thing that happened, told once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A request failed for good.
    RequestFailed(RequestRecord),
    /// A request succeeded after failed attempts; told only when asked for.
    RequestRecovered(RequestRecord),
    /// A request was dropped after a failed attempt.
    RequestAbandoned(RequestRecord),
    /// An account's credential was refused, or its quota is used up.
    AccountOut(AccountOut),
    /// No account of the pool is usable any more; the last refusal is the cause.
    PoolDead(PoolDead),
}

/// A request and its trail.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestRecord {
    /// The request's method.
    pub method: Method,
    /// The request's path, without the query: shortened, escaped, without secrets.
    pub path: Box<str>,
    /// The caller's `x-request-id`.
    pub request_id: Option<Box<str>>,
    /// The label of the request's options.
    pub label: Option<Arc<str>>,
    /// Every failed attempt, oldest first. Empty when nothing was sent.
    pub trail: Vec<Attempt>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the request was answered without the upstream: nothing went out.
    pub sent: bool,
    /// How long the request took, waits included.
    pub elapsed: Duration,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer of the upstream.
    Answer(StatusCode),
    /// With an error: shortened, escaped, without secrets.
    Error(Box<str>),
    /// With an answer of this crate's own.
    Local(Code),
    /// The caller did not wait for the end.
    Dropped,
}

/// An account that people can find again in their configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountTag {
    /// The account's id.
    pub id: Arc<str>,
    /// Its place in the pool, from 1.
    pub ordinal: usize,
    /// How many accounts the pool has.
    pub of: usize,
}

impl AccountTag {
    /// The account `id`, which is number `ordinal` (from 1) of `of`.
    pub fn new(id: impl Into<Arc<str>>, ordinal: usize, of: usize) -> Self {
        Self {
            id: id.into(),
            ordinal,
            of,
        }
    }
}

/// Why an account is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutReason {
    /// Its credential was refused.
    Refused(Reason),
    /// Its quota is used up.
    OutOfQuota,
}

/// An account's incident.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountOut {
    /// Which account.
    pub account: AccountTag,
    /// The generation of the credential.
    pub generation: u64,
    /// Why.
    pub reason: OutReason,
    /// The status that said so, when it was a response.
    pub status: Option<StatusCode>,
    /// Until when nothing uses it, from now.
    pub rest: Duration,
}

/// The pool's incident.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolDead {
    /// How many accounts the pool has, all of them out.
    pub accounts: usize,
    /// The refusal that was the last straw.
    pub cause: AccountOut,
    /// The pool's help text: what its owner must do.
    pub help: Option<Arc<str>>,
}
