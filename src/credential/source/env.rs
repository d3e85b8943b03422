//! A token from the environment.

use std::{
    env::{self, VarError},
    ffi::OsString,
};

use super::{
    error::SourceError,
    token::Token,
    token_source::{RefreshReason, TokenFuture, TokenSource},
};
use crate::classify::Reason;

/// A token from an environment variable, without the white space around it.
///
/// The variable is read at each call. A variable that is not set is a transient failure, since it
/// may be set later.
#[derive(Clone, Debug)]
pub struct EnvToken {
    variable: OsString,
}

impl EnvToken {
    /// Reads the token from `variable`.
    pub fn new(variable: impl Into<OsString>) -> Self {
        Self { variable: variable.into() }
    }

    fn read(&self) -> Result<Token, SourceError> {
        let name = || self.variable.to_string_lossy().into_owned();
        match env::var(&self.variable) {
            Ok(text) if text.trim().is_empty() => {
                Err(SourceError::transient(format!("the environment variable {} is empty", name())))
            }
            Ok(text) => {
                let text = zeroize::Zeroizing::new(text);
                Ok(Token::new(text.trim()))
            }
            Err(VarError::NotPresent) => Err(SourceError::transient(format!(
                "the environment variable {} is not set",
                name()
            ))),
            Err(VarError::NotUnicode(_)) => Err(SourceError::transient(format!(
                "the environment variable {} is not UTF-8",
                name()
            ))),
        }
    }
}

impl TokenSource for EnvToken {
    fn token(&self, _: RefreshReason) -> TokenFuture<'_> {
        Box::pin(std::future::ready(self.read()))
    }

    /// Returns `true` for every reason: the variable may be changed from outside.
    fn can_renew_after(&self, _: Reason) -> bool {
        true
    }
}
