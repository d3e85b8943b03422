//! A token, as a source supplies it.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::credential::expiry::Expires;

/// A token, as a source supplies it, with its expiry.
///
/// It is wiped when it is dropped, and `Debug` does not show it.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::credential::{Expires, Token};
///
/// let token = Token::new("s3cr3t").expires_in(Duration::from_secs(3600));
/// assert!(!format!("{token:?}").contains("s3cr3t"));
/// ```
#[derive(Clone)]
pub struct Token {
    pub(crate) text: Zeroizing<String>,
    pub(crate) expires: Expires,
    pub(crate) refresh_in: Option<Duration>,
}

impl Token {
    /// Builds a token of unknown expiry. If it is a JWT, its `exp` is read.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Zeroizing::new(text.into()), expires: Expires::Unknown, refresh_in: None }
    }

    /// Sets the lifetime, counted from now.
    #[must_use]
    pub const fn expires_in(self, left: Duration) -> Self {
        self.expires(Expires::In(left))
    }

    /// Sets the expiry.
    #[must_use]
    pub const fn expires(mut self, expires: Expires) -> Self {
        self.expires = expires;
        self
    }

    /// Sets the time after which the source is called again, even if this token is still valid.
    #[must_use]
    pub const fn refresh_in(mut self, time: Duration) -> Self {
        self.refresh_in = Some(time);
        self
    }

    /// Returns the token itself.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .field("refresh_in", &self.refresh_in)
            .finish_non_exhaustive()
    }
}
