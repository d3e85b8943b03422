//! The verdict of an error in place of an answer.
//!
//! The first of these decides, by the chain of sources:
//!
//! 1. a status or a code of an upstream, which counts as in an answer;
//! 2. a proof that the request was not processed, so that it may be resent;
//! 3. a timeout.
//!
//! Anything else, including an unknown type, may have happened after the work was done. An untrusted
//! certificate, or too many redirects, are like any other error here: a policy may treat them differently.

use std::{error::Error, io};

use super::{
    error_ref::{ErrorRef, as_type},
    failure::{self, FailureError},
    verdict::Verdict,
};

/// Returns the verdict of an error.
pub(crate) fn verdict(error: &ErrorRef<'_>) -> Verdict {
    // The first is enough: none of these types has a source with another status.
    if let Some(stated) = error.chain().find_map(stated) {
        return stated;
    }
    if error.chain().any(not_processed) {
        return Verdict::unavailable();
    }
    if error.chain().any(timed_out) {
        return Verdict::timed_out();
    }
    Verdict::transient()
}

/// Returns the verdict of the answer that an error was made of.
fn stated(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(own) = as_type::<FailureError>(error) {
        return Some(failure::verdict(own.cause()));
    }
    #[cfg(feature = "reqwest")]
    if let Some(status) = as_type::<reqwest::Error>(error).and_then(reqwest::Error::status) {
        return Some(super::answer::table::by_status(status));
    }
    #[cfg(feature = "tonic")]
    if let Some(status) = as_type::<tonic::Status>(error) {
        return grpc_status(status);
    }
    None
}

#[cfg(feature = "tonic")]
fn grpc_status(status: &tonic::Status) -> Option<Verdict> {
    let verdict = super::answer::grpc::verdict(
        u8::try_from(i32::from(status.code())).ok()?,
        Some(status.message()),
    );
    match verdict {
        Verdict::Unauthorized(_) => Some(verdict),
        // tonic made this status from a transport error, which is more precise.
        _ if status.source().is_some() => None,
        // Whether the answer had a body is unknown here, and tonic maps an HTTP 504 to "unavailable".
        // `OK` as an error is no answer.
        Verdict::Transient { .. } | Verdict::Success => Some(Verdict::transient()),
        other => Some(other),
    }
}

/// Returns whether the error proves that no server processed the request.
fn not_processed(error: &(dyn Error + 'static)) -> bool {
    if as_type::<io::Error>(error).is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        return true;
    }
    #[cfg(feature = "hyper")]
    if http_not_processed(error) {
        return true;
    }
    #[cfg(feature = "reqwest")]
    if as_type::<reqwest::Error>(error).is_some_and(reqwest::Error::is_connect) {
        return true;
    }
    false
}

#[cfg(feature = "hyper")]
fn http_not_processed(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = as_type::<hyper_util::client::legacy::Error>(error) {
        return error.is_connect();
    }
    if let Some(error) = as_type::<hyper::Error>(error) {
        // Only for a request that was still queued when its connection closed.
        return error.is_canceled();
    }
    let Some(error) = as_type::<h2::Error>(error) else {
        return false;
    };
    match error.reason() {
        // RFC 9113 §8.7: "no application processing".
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset() && error.is_remote(),
        // RFC 9113 §6.8: h2 gives a GOAWAY's own error only to streams above its last stream id, which the
        // server did not and will not process; the others continue, or end with an error of the connection.
        Some(h2::Reason::NO_ERROR) => error.is_go_away() && error.is_remote(),
        _ => false,
    }
}

fn timed_out(error: &(dyn Error + 'static)) -> bool {
    if as_type::<io::Error>(error).is_some_and(|e| e.kind() == io::ErrorKind::TimedOut)
        || as_type::<tokio::time::error::Elapsed>(error).is_some()
    {
        return true;
    }
    #[cfg(feature = "tower")]
    if as_type::<tower::timeout::error::Elapsed>(error).is_some() {
        return true;
    }
    #[cfg(feature = "hyper")]
    if as_type::<hyper::Error>(error).is_some_and(hyper::Error::is_timeout) {
        return true;
    }
    #[cfg(feature = "reqwest")]
    if as_type::<reqwest::Error>(error).is_some_and(reqwest::Error::is_timeout) {
        return true;
    }
    false
}

#[cfg(test)]
mod tests;
