//! The answer of a token endpoint (RFC 6749 §5).

use std::time::{Duration, SystemTime};

use http::response;
use serde_json::{Map, Value};

use super::server_delay::server_delay;
use crate::classify::Reason;

/// The parsed answer of a token endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenAnswer {
    /// A success (§5.1): the members of the answer, including `access_token`.
    Made(Map<String, Value>),
    /// A terminal error, which needs a person: the OAuth error code (§5.2), and its reason.
    Terminal(&'static str, Reason),
    /// A failure that may not occur again, with the delay that the endpoint asks for.
    Transient(Option<Duration>),
}

/// The errors of RFC 6749 §5.2 and RFC 6750 §3.1 that are terminal.
const TERMINAL: [(&str, Reason); 9] = [
    ("invalid_grant", Reason::Revoked),
    ("bad_refresh_token", Reason::Revoked),
    ("invalid_client", Reason::Invalid),
    ("incorrect_client_credentials", Reason::Invalid),
    ("unauthorized_client", Reason::Invalid),
    ("unsupported_grant_type", Reason::Invalid),
    ("invalid_request", Reason::Invalid),
    ("invalid_scope", Reason::InsufficientScope),
    ("access_denied", Reason::Inactive),
];

/// Parses the answer of a token endpoint, received at `now`.
///
/// Only an error code of the endpoint is terminal, since a proxy in between may answer with any status.
/// GitHub sends its error codes with a 200
/// ([docs](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens)).
pub(crate) fn token_answer(head: &response::Parts, body: &[u8], now: SystemTime) -> TokenAnswer {
    let members = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let named = members.get("error").and_then(Value::as_str).unwrap_or_default();
    let overloaded = head.status.is_server_error() || head.status.as_u16() == 429;
    if !overloaded {
        if let Some((error, reason)) = TERMINAL.into_iter().find(|(error, _)| *error == named) {
            return TokenAnswer::Terminal(error, reason);
        }
    }
    let made = members.get("access_token").and_then(Value::as_str).is_some();
    if head.status.is_success() && named.is_empty() && made {
        return TokenAnswer::Made(members);
    }
    TokenAnswer::Transient(server_delay(&head.headers, None, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> TokenAnswer {
        let answer = http::Response::builder().status(status).header("retry-after", "7");
        let (head, ()) = answer.body(()).unwrap().into_parts();
        token_answer(&head, body.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn token_answer_is_terminal_only_with_a_known_error_code() {
        let transient = TokenAnswer::Transient(Some(Duration::from_secs(7)));
        for (status, body, expected) in [
            // RFC 6749 §5.2
            (400, r#"{"error":"invalid_grant"}"#, Some(("invalid_grant", Reason::Revoked))),
            (401, r#"{"error":"invalid_client"}"#, Some(("invalid_client", Reason::Invalid))),
            (
                400,
                r#"{"error":"invalid_scope"}"#,
                Some(("invalid_scope", Reason::InsufficientScope)),
            ),
            // GitHub
            (200, r#"{"error":"bad_refresh_token"}"#, Some(("bad_refresh_token", Reason::Revoked))),
            (400, r#"{"error":"temporarily_unavailable"}"#, None),
            (503, r#"{"error":"invalid_grant"}"#, None),
            (429, r#"{"error":"invalid_grant"}"#, None),
            (400, "<html>", None),
            (401, "", None),
            (200, "{}", None),
            (200, r#"{"access_token":1}"#, None),
            (500, r#"{"access_token":"t"}"#, None),
        ] {
            let found = answer(status, body);
            match expected {
                Some((error, reason)) => {
                    assert_eq!(found, TokenAnswer::Terminal(error, reason), "{status} {body}");
                }
                None => assert_eq!(found, transient, "{status} {body}"),
            }
        }
        assert!(matches!(answer(200, r#"{"access_token":"t"}"#), TokenAnswer::Made(_)));
    }
}
