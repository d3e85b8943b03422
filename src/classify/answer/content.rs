//! Content types.

/// Returns whether the value of a `content-type` field stands for JSON.
///
/// `application/json` and `text/json`, any `+json` (RFC 6839 §3.1), and AWS's `application/x-amz-json-1.0`; in any
/// case and with any parameters (RFC 9110 §8.3.1).
pub(crate) fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let begins = |with: &[u8]| {
        essence.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    let ends = |with: &[u8]| {
        let start = essence.len().checked_sub(with.len());
        start.and_then(|at| essence.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
    };
    essence.eq_ignore_ascii_case(b"application/json")
        || essence.eq_ignore_ascii_case(b"text/json")
        || ends(b"+json")
        || begins(b"application/x-amz-json-")
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn content_type_is_json_only_for_json() {
        for (value, wanted) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            (" application/json ;charset=\"utf-8\"", true),
            ("application/problem+json", true),
            ("application/vnd.api+JSON;v=1", true),
            ("application/x-amz-json-1.1", true),
            ("text/json", true),
            ("text/html", false),
            ("text/plain; application/json", false),
            ("application/jsonp", false),
            ("application/json-seq", false),
            ("text/event-stream", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(value.as_bytes()), wanted, "{value}");
        }
        assert!(!is_json(b"\xff"));
    }
}
