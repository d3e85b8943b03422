//! Why a source gave no token.

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use crate::classify::Reason;

/// Why a source gave no token.
///
/// Its text enters reports, where secrets of the pool are taken out; leave any other out of it.
///
/// [`TokenSource`](crate::credential::TokenSource) has an example.
#[derive(Clone)]
pub struct SourceError {
    what: Cow<'static, str>,
    terminal: Option<Reason>,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// It may work another time: a server is down, a file is being written.
    pub fn transient(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), terminal: None, retry_after: None, source: None }
    }

    /// It never will, until a person acts; `reason` is what is wrong with the account.
    pub fn terminal(reason: Reason, what: impl Into<Cow<'static, str>>) -> Self {
        Self { terminal: Some(reason), ..Self::transient(what) }
    }

    /// With the error behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// With how long the source wants to be left alone.
    #[must_use]
    pub const fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }

    /// What is wrong with the account, if only a person can help.
    pub const fn reason(&self) -> Option<Reason> {
        self.terminal
    }

    /// Whether only a person can help.
    pub const fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// How long the source wants to be left alone.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceError")
            .field("what", &self.what)
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
