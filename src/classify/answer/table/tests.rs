use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Response, StatusCode, response::Parts};
use proptest::prelude::*;

use crate::classify::{Cause, Classifier, Code, ModelFault, Reason, Verdict};

const RFC: &str = "https://www.rfc-editor.org/rfc/";
const GRPC: &str = "https://github.com/grpc/grpc/blob/master/doc/statuscodes.md";
const OPENAI: &str = "https://platform.openai.com/docs/guides/error-codes";
const ANTHROPIC: &str = "https://docs.anthropic.com/en/api/errors";
const GOOGLE: &str = "https://ai.google.dev/gemini-api/docs/troubleshooting";
const AZURE: &str = "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference";
const AWS: &str = "https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html";
const GITHUB: &str =
    "https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api";

const OK: Verdict = Verdict::Success;
const NO: Verdict = Verdict::Rejected;
const EXPIRED: Verdict = Verdict::Unauthorized(Reason::Expired);
const INVALID: Verdict = Verdict::Unauthorized(Reason::Invalid);
const REVOKED: Verdict = Verdict::Unauthorized(Reason::Revoked);
const INACTIVE: Verdict = Verdict::Unauthorized(Reason::Inactive);
const SCOPE: Verdict = Verdict::Unauthorized(Reason::InsufficientScope);
const FORBIDDEN: Verdict = Verdict::Forbidden;
const LIMITED: Verdict = Verdict::limited();
const QUOTA: Verdict = Verdict::out_of_quota();
const NOT_FOUND: Verdict = Verdict::model_fault(ModelFault::NotFound);
const OVERLOADED: Verdict = Verdict::model_fault(ModelFault::Overloaded);
const TOO_LONG: Verdict = Verdict::model_fault(ModelFault::ContextTooLong);
const POLICY: Verdict = Verdict::model_fault(ModelFault::ContentPolicy);
const REFUSED: Verdict = Verdict::unavailable();
const PERHAPS: Verdict = Verdict::transient();

fn head(status: u16, headers: &[(&str, &str)]) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        head.headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    head
}

/// Classifies in one step and in the driver's two, which must agree.
fn judge(head: &Parts, body: &str) -> Verdict {
    let classifier = Classifier::default();
    let now = SystemTime::UNIX_EPOCH;
    let whole = classifier.classify(head, Some(body.as_bytes()), now);
    let steps = classifier.head(head, || now);
    assert_eq!(steps.unwrap_or_else(|| classifier.body(head, body.as_bytes(), now)), whole);
    assert_eq!(classifier.succeeds(head), whole.is_success());
    whole
}

#[test]
fn status_has_its_row() {
    for (status, wanted, source) in [
        (100, OK, "rfc9110#section-15.2"),
        (200, OK, "rfc9110#section-15.3"),
        (204, OK, "rfc9110#section-15.3.5"),
        (304, OK, "rfc9110#section-15.4.5"),
        (399, OK, "rfc9110#section-15.4"),
        (400, NO, "rfc9110#section-15.5.1"),
        (401, INVALID, "rfc9110#section-15.5.2"),
        (402, QUOTA, "rfc9110#section-15.5.3"),
        (403, FORBIDDEN, "rfc9110#section-15.5.4"),
        (404, NO, "rfc9110#section-15.5.5"),
        (407, NO, "rfc9110#section-15.5.8"),
        (408, PERHAPS, "rfc9110#section-15.5.9"),
        (409, NO, "rfc9110#section-15.5.10"),
        (410, NO, "rfc9110#section-15.5.11"),
        (413, NO, "rfc9110#section-15.5.14"),
        (422, NO, "rfc9110#section-15.5.21"),
        (425, REFUSED, "rfc8470#section-5.2"),
        (429, LIMITED, "rfc6585#section-4"),
        (499, NO, "rfc9110#section-15.5"),
        (500, PERHAPS, "rfc9110#section-15.6.1"),
        (501, NO, "rfc9110#section-15.6.2"),
        (502, PERHAPS, "rfc9110#section-15.6.3"),
        (503, REFUSED, "rfc9110#section-15.6.4"),
        (504, PERHAPS, "rfc9110#section-15.6.5"),
        (505, NO, "rfc9110#section-15.6.6"),
        (599, PERHAPS, "rfc9110#section-15.6"),
        (600, PERHAPS, "rfc9110#section-15"),
        (999, PERHAPS, "rfc9110#section-15"),
    ] {
        assert_eq!(judge(&head(status, &[]), ""), wanted, "{status}: {RFC}{source}");
    }
    assert_eq!(judge(&head(529, &[]), ""), OVERLOADED, "{ANTHROPIC}");
}

#[test]
fn grpc_code_has_its_row() {
    for (code, wanted) in [
        ("0", OK),
        ("1", NO),
        ("2", PERHAPS),
        ("3", NO),
        ("4", PERHAPS),
        ("5", NO),
        ("6", NO),
        ("7", FORBIDDEN),
        ("8", LIMITED),
        ("9", NO),
        ("10", NO),
        ("11", NO),
        ("12", NO),
        ("13", PERHAPS),
        ("14", REFUSED),
        ("15", PERHAPS),
        ("16", INVALID),
        (" 16 ", INVALID),
        // A code that cannot be parsed is UNKNOWN.
        ("", PERHAPS),
        ("x", PERHAPS),
        ("256", PERHAPS),
        ("-1", PERHAPS),
    ] {
        let head = head(200, &[("content-type", "application/grpc"), ("grpc-status", code)]);
        assert_eq!(judge(&head, ""), wanted, "{code:?}: {GRPC}");
    }
    let said = [("grpc-status", "16"), ("grpc-message", "token%20expired")];
    assert_eq!(judge(&head(200, &said), ""), EXPIRED);
    let two = [("grpc-status", "14"), ("grpc-status", "16")];
    assert_eq!(judge(&head(200, &two), ""), INVALID);
    assert_eq!(judge(&head(503, &[("grpc-status", "0")]), ""), REFUSED);
    assert_eq!(judge(&head(503, &[("grpc-status", "16")]), ""), INVALID);
    assert_eq!(judge(&head(401, &[("grpc-status", "14")]), ""), INVALID);
}

#[test]
#[rustfmt::skip] // a row a line
fn error_code_has_its_row() {
    for (status, body, wanted, source) in [
        (404, r#"{"error":{"code":"model_not_found"}}"#, NOT_FOUND, OPENAI),
        (403, r#"{"error":{"code":"model_not_found"}}"#, NOT_FOUND, OPENAI),
        (400, r#"{"error":{"code":"context_length_exceeded"}}"#, TOO_LONG, OPENAI),
        (400, r#"{"error":{"code":"content_policy_violation"}}"#, POLICY, OPENAI),
        (400, r#"{"error":{"code":"invalid_api_key"}}"#, INVALID, OPENAI),
        (403, r#"{"error":{"code":"account_deactivated"}}"#, INACTIVE, OPENAI),
        (429, r#"{"error":{"type":"insufficient_quota"}}"#, QUOTA, OPENAI),
        (429, r#"{"error":{"code":"rate_limit_exceeded"}}"#, LIMITED, OPENAI),
        (404, r#"{"error":{"code":"other"}}"#, NO, OPENAI),
        (403, r#"{"error":{"type":"authentication_error"}}"#, INVALID, ANTHROPIC),
        (402, r#"{"error":{"type":"billing_error"}}"#, QUOTA, ANTHROPIC),
        (400, r#"{"error":{"type":"rate_limit_error"}}"#, LIMITED, ANTHROPIC),
        (400, r#"{"error":{"type":"overloaded_error"}}"#, OVERLOADED, ANTHROPIC),
        (404, r#"{"error":{"type":"not_found_error","message":"model: x"}}"#, NOT_FOUND, ANTHROPIC),
        (404, r#"{"error":{"type":"not_found_error","message":"file x"}}"#, NO, ANTHROPIC),
        (400, r#"{"error":{"message":"prompt is too long: 9 > 8"}}"#, TOO_LONG, ANTHROPIC),
        (400, r#"{"error":{"message":"Your credit balance is too low to"}}"#, QUOTA, ANTHROPIC),
        // The caller's own words do not start a cooldown.
        (400, r#"{"error":{"message":"bad: Your credit balance is too low"}}"#, NO, ANTHROPIC),
        (400, r#"{"error":{"details":[{"reason":"API_KEY_INVALID"}]}}"#, INVALID, GOOGLE),
        (400, r#"{"error":{"message":"API key expired. Please renew","details":[{"reason":"API_KEY_INVALID"}]}}"#, EXPIRED, GOOGLE),
        (400, r#"{"error":{"status":"INVALID_ARGUMENT"}}"#, NO, GOOGLE),
        (400, r#"{"error":{"status":"UNAUTHENTICATED"}}"#, INVALID, GOOGLE),
        (429, r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#, LIMITED, GOOGLE),
        (403, r#"{"error":{"status":"PERMISSION_DENIED"}}"#, FORBIDDEN, GOOGLE),
        (404, r#"{"error":{"code":"DeploymentNotFound"}}"#, NOT_FOUND, AZURE),
        (400, r#"{"error":{"code":"content_filter"}}"#, POLICY, AZURE),
        (400, r#"{"__type":"com.amazon.coral.service#ThrottlingException"}"#, LIMITED, AWS),
        (403, r#"{"__type":"ExpiredTokenException"}"#, EXPIRED, AWS),
        (403, r#"{"code":"UnrecognizedClientException"}"#, INVALID, AWS),
        // Cut after the code.
        (400, r#"{"error":{"code":"invalid_api_key","message":"Incorr"#, INVALID, OPENAI),
        // The statuses for which no body is read.
        (500, r#"{"error":{"code":"invalid_api_key"}}"#, PERHAPS, OPENAI),
        (422, r#"{"error":{"code":"rate_limit_exceeded"}}"#, NO, OPENAI),
        (200, r#"{"error":{"code":"invalid_api_key"}}"#, OK, OPENAI),
        (401, r#"{"error":{"code":"model_not_found"}}"#, INVALID, OPENAI),
        (401, r#"{"error":{"code":"token_expired"}}"#, EXPIRED, OPENAI),
        (401, r#"{"error":{"code":"token_revoked"}}"#, REVOKED, OPENAI),
        (403, r#"{"error":{"code":"token_invalidated"}}"#, REVOKED, OPENAI),
        (401, r#"{"error":{"details":[{"reason":"ACCESS_TOKEN_EXPIRED"}]}}"#, EXPIRED, GOOGLE),
    ] {
        let head = head(status, &[("content-type", "application/json")]);
        let verdict = Classifier::default().classify(&head, Some(body.as_bytes()), now());
        assert_eq!(verdict, wanted, "{status} {body}: {source}");
    }
}

#[test]
#[rustfmt::skip] // a row a line
fn header_has_its_row() {
    for (status, name, value, wanted, source) in [
        (403, "x-amzn-errortype", "ExpiredTokenException:http://x/", EXPIRED, AWS),
        (403, "x-amzn-errortype", "UnrecognizedClientException", INVALID, AWS),
        (403, "x-amzn-errortype", "AccessDeniedException", FORBIDDEN, AWS),
        // API Gateway sends this for an unknown path.
        (403, "x-amzn-errortype", "MissingAuthenticationTokenException", FORBIDDEN, AWS),
        (503, "x-amzn-errortype", "SlowDown", LIMITED, AWS),
        (500, "x-amzn-errortype", "InternalServerError", PERHAPS, AWS),
        (403, "retry-after", "60", LIMITED.with_delay(Some(Duration::from_secs(60))), GITHUB),
        (403, "retry-after", "soon", FORBIDDEN, GITHUB),
        (403, "x-ratelimit-remaining", "0", LIMITED, GITHUB),
        (403, "x-ratelimit-remaining", "10", FORBIDDEN, GITHUB),
        (401, "www-authenticate", "Bearer error=\"insufficient_scope\"", SCOPE, RFC),
        (403, "www-authenticate", "Bearer error=\"insufficient_scope\"", FORBIDDEN, RFC),
        (403, "www-authenticate", "Bearer error=\"invalid_token\"", INVALID, RFC),
        (401, "www-authenticate", "Bearer realm=\"x\"", INVALID, RFC),
        (401, "www-authenticate", "Bearer error=invalid_token, error_description=\"revoked\"", REVOKED, RFC),
        (401, "www-authenticate", "Bearer error=invalid_token, error_description=\"account disabled\"", INACTIVE, RFC),
        (401, "www-authenticate", "Bearer error=invalid_token, error_description=\"expired: it expired\"", EXPIRED, RFC),
        // Two reasons count as none.
        (401, "www-authenticate", "Bearer error=invalid_token, error_description=\"expired or malformed\"", INVALID, RFC),
    ] {
        assert_eq!(
            judge(&head(status, &[(name, value)]), ""),
            wanted,
            "{status} {value}: {source}"
        );
    }
}

#[test]
fn end_of_a_window_is_a_delay_only_for_limited() {
    let wait = Some(Duration::from_secs(5));
    for (status, window, wanted_delay) in [
        (429, LIMITED.with_delay(wait), LIMITED.with_delay(wait)),
        (503, REFUSED, REFUSED.with_delay(wait)),
        (500, PERHAPS, PERHAPS.with_delay(wait)),
        (529, OVERLOADED, OVERLOADED.with_delay(wait)),
        (402, QUOTA, QUOTA.with_delay(wait)),
        (401, INVALID, INVALID),
        (422, NO, NO),
    ] {
        assert_eq!(judge(&head(status, &[("x-ratelimit-reset-tokens", "5s")]), ""), window);
        assert_eq!(judge(&head(status, &[("retry-after", "5")]), ""), wanted_delay);
    }
}

#[test]
#[rustfmt::skip] // a row a line
fn cause_decides_the_verdict() {
    let wait = Some(Duration::from_secs(9));
    for (status, cause, wanted) in [
        (401, Cause::local(Code::PoolEmpty), Verdict::Unauthorized(Reason::Missing)),
        (401, Cause::upstream(Code::CredentialRevoked), REVOKED),
        // Rejected by a rule of an inner layer, with another status than 401.
        (400, Cause::upstream(Code::CredentialInvalid), INVALID),
        (200, Cause::upstream(Code::CredentialExpired), EXPIRED),
        (401, Cause::upstream(Code::CredentialInactive), INACTIVE),
        (401, Cause::upstream(Code::InsufficientScope), SCOPE),
        (429, Cause::local(Code::PoolLimited).with_retry_after(wait), LIMITED.with_delay(wait)),
        (429, Cause::local(Code::OutOfQuota).with_retry_after(wait), QUOTA.with_delay(wait)),
        (503, Cause::local(Code::NotReady).with_retry_after(wait), REFUSED.with_delay(wait)),
        (403, Cause::local(Code::OriginNotAllowed), FORBIDDEN),
        (400, Cause::local(Code::PinUnknown), NO),
    ] {
        let mut head = head(status, &[("content-type", "application/problem+json")]);
        head.extensions.insert(cause);
        assert_eq!(judge(&head, "{}"), wanted, "{cause}");
    }
}

#[test]
fn body_is_read_only_if_it_may_change_the_verdict() {
    let reads = |status, kind| {
        let head = head(status, &[("content-type", kind)]);
        Classifier::default().head(&head, now).is_none()
    };
    let read: Vec<u16> = (100..1000).filter(|status| reads(*status, "application/json")).collect();
    assert_eq!(read, [400, 402, 403, 404, 429, 529]);
    assert!((100..1000).all(|status| !reads(status, "text/html")));
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

proptest! {
    #[test]
    fn any_status_and_any_body_have_a_verdict(
        status in 100..1000_u16,
        grpc in proptest::option::of("[0-9]{0,4}"),
        json in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut said = vec![("content-type", if json { "application/json" } else { "text/plain" })];
        said.extend(grpc.as_deref().map(|code| ("grpc-status", code)));
        let verdict = Classifier::default().classify(&head(status, &said), Some(&body), now());
        if status == 401 {
            prop_assert!(verdict.is_unauthorized());
        }
        if status >= 400 {
            prop_assert!(!verdict.is_success());
        }
    }
}
