//! gRPC status codes in the head of an answer (a trailers-only answer).

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode;

use crate::classify::{Reason, Verdict};

/// A static, since each answer is searched for it.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// `UNAUTHENTICATED`.
const UNAUTHENTICATED: u8 = 16;

/// `UNKNOWN`, the code of a status that cannot be parsed.
const UNKNOWN: u8 = 2;

/// Returns the failure code of `grpc-status` in the head; `None` without that header, and for `OK`.
///
/// Of several lines 16 wins, so that no rejection hides behind another code. The content type is ignored,
/// since only gRPC uses this header.
#[inline]
pub(crate) fn code(headers: &HeaderMap) -> Option<u8> {
    headers.contains_key(&GRPC_STATUS).then(|| failure(headers)).flatten()
}

#[cold]
fn failure(headers: &HeaderMap) -> Option<u8> {
    let codes = headers.get_all(&GRPC_STATUS).into_iter().map(|value| {
        let text = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        text.trim().parse().unwrap_or(UNKNOWN)
    });
    codes.filter(|code| *code != 0).max_by_key(|code| *code == UNAUTHENTICATED)
}

/// Returns the verdict of a code in a trailers-only answer
/// ([statuscodes.md](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)).
pub(crate) fn verdict(code: u8, message: Option<&str>) -> Verdict {
    match code {
        0 => Verdict::Success,
        UNAUTHENTICATED => {
            Verdict::Unauthorized(message.and_then(Reason::described_by).unwrap_or(Reason::Invalid))
        }
        7 => Verdict::Forbidden,
        8 => Verdict::limited(),
        // UNAVAILABLE. The answer is only a head, so the server did not begin.
        14 => Verdict::unavailable(),
        // UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS.
        2 | 4 | 13 | 15 => Verdict::transient(),
        _ => Verdict::Rejected,
    }
}

/// Returns the verdict of an answer with this code and these headers.
pub(crate) fn of_head(code: u8, headers: &HeaderMap) -> Verdict {
    // Percent-encoded (PROTOCOL-HTTP2.md).
    let message = headers.get("grpc-message");
    let message = message.map(|value| percent_decode(value.as_bytes()).decode_utf8_lossy());
    verdict(code, message.as_deref())
}
