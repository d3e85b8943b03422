//! What a source gives.

use std::{fmt, time::Duration};

use zeroize::Zeroizing;

use crate::credential::expiry::Expires;

/// A token as its source gives it, with what is known of its end.
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
    /// A token of which nothing is known; if it is a JWT, it tells its end itself.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Zeroizing::new(text.into()), expires: Expires::Unknown, refresh_in: None }
    }

    /// It is good for so long from now on.
    #[must_use]
    pub const fn expires_in(self, left: Duration) -> Self {
        self.expires(Expires::In(left))
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(mut self, expires: Expires) -> Self {
        self.expires = expires;
        self
    }

    /// The source wants to be asked again after so long, whatever becomes of this token: it may
    /// have another by then.
    #[must_use]
    pub const fn refresh_in(mut self, time: Duration) -> Self {
        self.refresh_in = Some(time);
        self
    }

    /// The token itself.
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
