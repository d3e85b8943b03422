//! The error codes of vendors and their verdicts.

use crate::classify::{ModelFault, Reason, Verdict};

/// Returns the verdict of a vendor's error code, whatever the status; `None` for a code that adds nothing.
///
/// Sources: [OpenAI](https://platform.openai.com/docs/guides/error-codes),
/// [Anthropic](https://docs.anthropic.com/en/api/errors),
/// [Google's ErrorReason](https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto) and
/// [canonical codes](https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto),
/// [Azure](https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-filter).
pub(crate) fn verdict(code: &str) -> Option<Verdict> {
    let verdict = match code {
        "invalid_api_key" | "authentication_error" | "API_KEY_INVALID" | "UNAUTHENTICATED" => {
            Verdict::Unauthorized(Reason::Invalid)
        }
        "token_expired" | "ACCESS_TOKEN_EXPIRED" => Verdict::Unauthorized(Reason::Expired),
        "token_revoked" | "token_invalidated" => Verdict::Unauthorized(Reason::Revoked),
        "account_deactivated" => Verdict::Unauthorized(Reason::Inactive),
        "model_not_found" | "DeploymentNotFound" => Verdict::model_fault(ModelFault::NotFound),
        "context_length_exceeded" => Verdict::model_fault(ModelFault::ContextTooLong),
        "content_policy_violation" | "content_filter" => {
            Verdict::model_fault(ModelFault::ContentPolicy)
        }
        "overloaded_error" => Verdict::model_fault(ModelFault::Overloaded),
        "insufficient_quota" | "billing_error" => Verdict::out_of_quota(),
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "RESOURCE_EXHAUSTED"
        | "RATE_LIMIT_EXCEEDED" => Verdict::limited(),
        _ => return aws(code),
    };
    Some(verdict)
}

/// Returns the verdict of an AWS error code, from `x-amzn-errortype` or the body
/// ([common errors](https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html); the throttling
/// list is that of `aws_smithy_runtime`'s retry classifier).
///
/// `MissingAuthenticationToken` is left out on purpose: API Gateway sends it for an unknown path.
pub(crate) fn aws(code: &str) -> Option<Verdict> {
    // `com.amazon.coral.service#Name`, `Name:http://...` (restJson1 protocol, operation error shapes).
    let name = code.rsplit('#').next().unwrap_or(code);
    let name = name.split(':').next().unwrap_or(name).trim();
    let verdict = match name {
        "ExpiredToken" | "ExpiredTokenException" => Verdict::Unauthorized(Reason::Expired),
        "UnrecognizedClientException" | "InvalidClientTokenId" | "InvalidAccessKeyId" => {
            Verdict::Unauthorized(Reason::Invalid)
        }
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "TransactionInProgressException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "RequestThrottled"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException" => Verdict::limited(),
        _ => return None,
    };
    Some(verdict)
}

/// Returns the verdict of a message for which the vendor has no code.
///
/// Only the *beginning* of a message counts: the rest may quote the caller's own words.
pub(crate) fn of_message(message: &str) -> Option<Verdict> {
    // Anthropic sends all three with a general type (invalid_request_error, not_found_error).
    if message.starts_with("Your credit balance is too low") {
        Some(Verdict::out_of_quota())
    } else if message.starts_with("prompt is too long") {
        Some(Verdict::model_fault(ModelFault::ContextTooLong))
    } else {
        None
    }
}

/// Returns whether a 404 is about a model: Anthropic's `not_found_error` is also about batches and files.
pub(crate) fn names_model(code: &str, message: Option<&str>) -> bool {
    code == "not_found_error" && message.is_some_and(|m| m.starts_with("model:"))
}
