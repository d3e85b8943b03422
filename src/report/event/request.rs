//! The record of a request that failed, recovered or was abandoned.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
    time::Duration,
};

use http::{Method, StatusCode};

use super::attempt::Attempt;
use crate::{
    classify::Code,
    report::text::{Elapsed, OneLine, Quoted},
};

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
    /// The failed attempts, oldest first. Empty if nothing was sent.
    pub trail: Vec<Attempt>,
    /// The end of the request.
    pub outcome: Outcome,
    /// Whether an attempt was sent; `false` if the request was answered locally.
    pub sent: bool,
    /// The time that the request took, including waits.
    pub elapsed: Duration,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer from the upstream.
    Answer(StatusCode),
    /// With an error: shortened, escaped, without secrets.
    Error(Box<str>),
    /// With a local answer, made by this crate.
    Local(Code),
    /// Dropped by the caller before it ended.
    Dropped,
}

impl RequestRecord {
    /// Creates a record with an empty trail; its fields can be set afterwards.
    ///
    /// `sent` is true unless the outcome is a local answer.
    pub fn new(method: Method, path: impl Into<Box<str>>, outcome: Outcome) -> Self {
        let sent = !matches!(outcome, Outcome::Local(_));
        Self {
            method,
            path: path.into(),
            request_id: None,
            label: None,
            trail: Vec::new(),
            outcome,
            sent,
            elapsed: Duration::ZERO,
        }
    }

    /// Writes the line of an event; `what` is its verb.
    pub(super) fn write(&self, what: &str, f: &mut Formatter<'_>) -> fmt::Result {
        let path = OneLine(&self.path);
        write!(f, "{} {path} {what}", OneLine(self.method.as_str()))?;
        self.outcome.write(f)?;
        if self.sent {
            let (attempts, s) = (self.trail.len(), plural(self.trail.len()));
            write!(f, " after {attempts} failed attempt{s}")?;
            write!(f, " in {}", Elapsed(self.elapsed))?;
        } else {
            f.write_str(", nothing was sent")?;
        }
        for (index, attempt) in self.trail.iter().enumerate() {
            let before = if index == 0 { ":" } else { ";" };
            write!(f, "{before} [{}] {attempt}", index + 1)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, "; request id {}", Quoted(id))?;
        }
        match &self.label {
            Some(label) => write!(f, "; label {}", Quoted(label)),
            None => Ok(()),
        }
    }
}

impl Outcome {
    /// Returns the stable code for logs and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Answer(_) => "answer",
            Self::Error(_) => "error",
            Self::Local(_) => "local",
            Self::Dropped => "dropped",
        }
    }

    /// Returns the status that the caller received, if it received a response.
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answer(status) => Some(*status),
            Self::Local(code) => Some(code.status()),
            Self::Error(_) | Self::Dropped => None,
        }
    }

    /// Writes the part that follows the verb.
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(status) => write!(f, " with {}", status.as_u16()),
            Self::Error(error) => write!(f, " with error {}", Quoted(error)),
            Self::Local(code) => {
                let message = code.message().trim_end_matches('.');
                write!(f, " with a local {} ({code}: {message})", code.status().as_u16())
            }
            Self::Dropped => Ok(()),
        }
    }
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
