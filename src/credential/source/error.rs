//! The error of a token source.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use crate::classify::Reason;

/// The error of a token source.
///
/// Its text appears in reports. Secrets of the pool are removed from it; do not put others into it.
#[derive(Clone)]
pub struct SourceError {
    message: Cow<'static, str>,
    terminal: Option<Reason>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// Builds an error that may go away: a server is down, a file is being written.
    pub fn transient(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), terminal: None, retry_after: None, source: None }
    }

    /// Builds an error that stays until a person acts. `reason` says what is wrong with the account.
    pub fn terminal(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { terminal: Some(reason), ..Self::transient(message) }
    }

    /// Adds the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Adds the delay until the source may be called again.
    #[must_use]
    pub const fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }

    /// Returns what is wrong with the account, if the error is terminal.
    pub const fn reason(&self) -> Option<Reason> {
        self.terminal
    }

    /// Returns whether the error stays until a person acts.
    pub const fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Returns the delay until the source may be called again.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("message", &self.message)
            .field("terminal", &self.terminal)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn Error + 'static))
    }
}
