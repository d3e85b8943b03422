//! The rule of resending: work that was perhaps done (a 502 to a POST) is not repeated unless harmless.
//!
//! The [delivery](crate::classify::Delivery) of a verdict says whether the upstream may have done the
//! work. Repeating is harmless if the method is idempotent (RFC 9110 §9.2.2), if the request has an
//! `Idempotency-Key`, or if the caller says so. Retry and fallback decide by the same function.

use http::{HeaderName, Method};

use super::options::RequestOptions;
use crate::classify::{Delivery, Verdict};

/// `Idempotency-Key`
/// ([draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/)).
pub(crate) static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Returns whether doing a request twice is harmless: the method is idempotent (RFC 9110 §9.2.2), the
/// request has an `Idempotency-Key` (`keyed`), or the caller says so.
pub(crate) fn repeatable(method: &Method, keyed: bool, options: Option<&RequestOptions>) -> bool {
    method.is_idempotent() || keyed || options.is_some_and(RequestOptions::is_repeatable)
}

/// Returns whether sending again after `verdict` could do the work twice, where that is not harmless.
pub(crate) fn could_duplicate_work(verdict: &Verdict, repeatable: bool) -> bool {
    verdict.delivery() == Delivery::PerhapsDone && !repeatable
}
