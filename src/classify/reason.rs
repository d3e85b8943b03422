//! Reasons for which a credential is rejected.

use std::fmt;

/// The reason for which a credential was rejected.
///
/// Whatever the reason, the same credential is not sent again for the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The request had no credential (RFC 6750 §3: a challenge without an error code).
    Missing,
    /// The credential has expired: a refresh may help.
    Expired,
    /// The upstream does not accept the credential. The default if it gives no reason.
    Invalid,
    /// The credential was revoked: only a new login helps.
    Revoked,
    /// The account behind the credential is disabled.
    Inactive,
    /// The credential lacks the scope (RFC 6750 §3.1, `insufficient_scope`).
    InsufficientScope,
}

impl Reason {
    /// Returns the stable code for logs and metrics: the same in a verdict, an event, the pool's view
    /// and an answer ([`Code`](crate::Code)).
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Expired => "credential_expired",
            Self::Invalid => "credential_invalid",
            Self::Revoked => "credential_revoked",
            Self::Inactive => "credential_inactive",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// Returns the reason that a description of a rejected credential gives. None if it gives none,
    /// or several.
    ///
    /// "The access token provided is expired, revoked, malformed, or invalid" (RFC 6750 §3.1) gives
    /// no reason.
    pub(crate) fn described_by(text: &str) -> Option<Self> {
        let mut found = None;
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let reason = match word.to_ascii_lowercase().as_str() {
                "expired" => Self::Expired,
                "revoked" | "invalidated" => Self::Revoked,
                "deactivated" | "disabled" | "suspended" | "inactive" => Self::Inactive,
                "invalid" | "malformed" | "incorrect" => Self::Invalid,
                _ => continue,
            };
            match found {
                None => found = Some(reason),
                Some(same) if same == reason => {}
                Some(_) => return None,
            }
        }
        found
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
