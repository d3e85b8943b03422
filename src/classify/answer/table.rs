//! The generic table: what each status means (429, 502, 529), and whether the work was perhaps done.
//!
//! It depends on the status, a few headers, and for some statuses the body.

use std::time::UNIX_EPOCH;

use http::{HeaderMap, StatusCode};

use super::{answer::Answer, error_body::ErrorBody, error_code, grpc};
use crate::classify::{Cause, ModelFault, Reason, Verdict, challenge, delay, failure};

/// Returns the verdict of a status alone (RFC 9110 §15, RFC 6585, RFC 8470; 529 is Anthropic's).
pub(crate) fn by_status(status: StatusCode) -> Verdict {
    match status.as_u16() {
        100..=399 => Verdict::Success,
        401 => Verdict::Unauthorized(Reason::Invalid),
        402 => Verdict::out_of_quota(),
        403 => Verdict::Forbidden,
        // RFC 9110 §15.5.9: the server gave up waiting; how much of the request arrived is unknown.
        408 => Verdict::transient(),
        // RFC 8470 §5.2 (too early), RFC 9110 §15.6.4 (unavailable): not processed.
        425 | 503 => Verdict::unavailable(),
        429 => Verdict::limited(),
        // RFC 9110 §15.6.2, §15.6.6: the server does not support the request.
        400..=499 | 501 | 505 => Verdict::Rejected,
        529 => Verdict::model_fault(ModelFault::Overloaded),
        // RFC 9110 §15: a status outside of 100 to 599 is treated as a 5xx.
        _ => Verdict::transient(),
    }
}

/// Returns whether the body of an answer with this head may change its verdict.
pub(crate) fn reads_body(answer: &Answer<'_>) -> bool {
    status_reads_body(answer.status()) && answer.is_json() && answer.cause().is_none()
}

const fn status_reads_body(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 402 | 403 | 404 | 429 | 529)
}

/// Returns the verdict of an answer, without the server's delay.
pub(crate) fn verdict(answer: &Answer<'_>, error: &ErrorBody) -> Verdict {
    let status = answer.status();
    if let Some(cause) = answer.cause() {
        return failure::verdict(cause);
    }
    if status == StatusCode::UNAUTHORIZED {
        return Verdict::Unauthorized(unauthorized_reason(answer.headers(), error));
    }
    if let Some(code) = grpc::code(answer.headers()) {
        return grpc::of_head(code, answer.headers());
    }
    let general = by_status(status);
    if general.is_success() {
        return general;
    }
    special(answer, error).unwrap_or(general)
}

/// Returns the verdict of the error codes and messages of a failure, if they are more specific than its
/// status.
fn special(answer: &Answer<'_>, error: &ErrorBody) -> Option<Verdict> {
    let headers = answer.headers();
    let named = headers.get("x-amzn-errortype").and_then(|v| error_code::aws(v.to_str().ok()?));
    let worded = || match answer.status() {
        status if status_reads_body(status) => from_body(status, error),
        _ => None,
    };
    let refined = named.or_else(worded).map(|verdict| match verdict {
        Verdict::Unauthorized(Reason::Invalid) => {
            let said = error.message().and_then(Reason::described_by);
            Verdict::Unauthorized(said.unwrap_or(Reason::Invalid))
        }
        other => other,
    });
    refined.or_else(|| match answer.status() {
        StatusCode::FORBIDDEN => forbidden(headers),
        _ => None,
    })
}

fn from_body(status: StatusCode, error: &ErrorBody) -> Option<Verdict> {
    if status == StatusCode::NOT_FOUND
        && error.codes().any(|code| error_code::names_model(code, error.message()))
    {
        return Some(Verdict::model_fault(ModelFault::NotFound));
    }
    let coded = error.codes().find_map(error_code::verdict);
    coded.or_else(|| error_code::of_message(error.message()?))
}

/// Returns the verdict of a 403 that is not about permissions.
///
/// GitHub sends rate limits as 403, with `Retry-After` or with `x-ratelimit-remaining: 0`
/// ([rate limits](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api)).
fn forbidden(headers: &HeaderMap) -> Option<Verdict> {
    match challenge::reason(headers) {
        None | Some(Reason::InsufficientScope) => {}
        Some(reason) => return Some(Verdict::Unauthorized(reason)),
    }
    // Whether there is a delay does not depend on the time.
    let waits = delay::requested(headers, UNIX_EPOCH).is_some();
    let empty = headers.get("x-ratelimit-remaining").is_some_and(|n| n.as_bytes() == b"0");
    (waits || empty).then(Verdict::limited)
}

/// Returns the reason of a 401: from the challenge, else from the body if it was read.
fn unauthorized_reason(headers: &HeaderMap, error: &ErrorBody) -> Reason {
    if let Some(reason) = challenge::reason(headers) {
        if reason != Reason::Invalid {
            return reason;
        }
    }
    let coded = error.codes().find_map(|code| match error_code::verdict(code) {
        Some(Verdict::Unauthorized(reason)) if reason != Reason::Invalid => Some(reason),
        _ => None,
    });
    coded.or_else(|| error.message().and_then(Reason::described_by)).unwrap_or(Reason::Invalid)
}

impl Answer<'_> {
    /// Returns the cause that a layer of this crate set.
    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.extensions().get()
    }
}

#[cfg(test)]
mod tests;
