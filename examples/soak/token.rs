//! The tokens, which contain the number of their account.

use http::{HeaderMap, header::AUTHORIZATION};

/// One generation of the token of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) account: usize,
    pub(crate) generation: u64,
}

impl Key {
    /// Returns the text of the token.
    pub(crate) fn token(self) -> String {
        format!("sk-soak-{}-{}", self.account, self.generation)
    }

    /// Returns the token of a request.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer sk-soak-")?;
        let (account, generation) = token.split_once('-')?;
        Some(Self { account: account.parse().ok()?, generation: generation.parse().ok()? })
    }

    /// Returns the token of the account with this id.
    pub(crate) fn at(id: &str, generation: u64) -> Option<Self> {
        Some(Self { account: id.strip_prefix("account-")?.parse().ok()?, generation })
    }

    /// Returns the next token of the same account.
    pub(crate) const fn next(self) -> Self {
        Self { account: self.account, generation: self.generation + 1 }
    }
}

/// Returns the id of an account in the pool.
pub(crate) fn id(account: usize) -> String {
    format!("account-{account}")
}

/// The header with the number of a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// Returns the number of a request.
pub(crate) fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(REQUEST_ID)?.to_str().ok()?.parse().ok()
}
