//! What an error in place of an answer means.
//!
//! The chain of sources is asked three things, in this order:
//!
//! 1. does it hold a status or a code that an upstream said? Then that counts, as in an answer;
//! 2. does it prove that the request was not processed? Then it may be sent again;
//! 3. does it say that the time was up?
//!
//! Anything else, an unknown type included, may have happened after the work was done. A certificate that is
//! not trusted, or too many redirects, are for a policy to tell: here they are like any other error.

use std::{error::Error, io};

use super::{
    error_ref::{ErrorRef, as_type},
    failure::{self, FailureError},
    verdict::Verdict,
};

pub(crate) fn verdict(error: &ErrorRef<'_>) -> Verdict {
    // One is enough: none of these goes on to a source that says another.
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

/// What an upstream, or a layer of this crate, said before somebody made an error of it.
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
        // tonic made this one of an error of the transport, which knows better.
        _ if status.source().is_some() => None,
        // Whether it came without a body is not known any more, and tonic says "unavailable" of an HTTP 504.
        // `OK` as an error, whatever that is, is no answer.
        Verdict::Transient { .. } | Verdict::Success => Some(Verdict::transient()),
        other => Some(other),
    }
}

/// Whether this proves that no server processed the request.
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
        // Said only of a request that still lay in the queue when its connection went away.
        return error.is_canceled();
    }
    let Some(error) = as_type::<h2::Error>(error) else {
        return false;
    };
    match error.reason() {
        // RFC 9113 §8.7: "no application processing".
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset() && error.is_remote(),
        // RFC 9113 §6.8: h2 gives a GOAWAY's own error only to streams above its last stream id, which the
        // server did not and will not process; the others go on, or end with an error of the connection.
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
