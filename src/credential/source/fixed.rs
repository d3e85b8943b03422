//! A token that never changes.

use std::fmt;

use super::{
    token::Token,
    token_source::{RefreshReason, TokenFuture, TokenSource},
};

/// A token that never changes.
#[derive(Clone)]
pub struct FixedToken(Token);

impl FixedToken {
    /// Builds a source that always supplies this token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(Token::new(token))
    }
}

impl TokenSource for FixedToken {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn can_renew_after(&self, _: crate::classify::Reason) -> bool {
        false
    }
}

impl fmt::Debug for FixedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedToken").finish_non_exhaustive()
    }
}
