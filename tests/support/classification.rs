//! The cases of the classification tables that need more than a classifier.

#![allow(dead_code, reason = "each test file uses its part")]

/// Cases of `status_classification.json` that count attempts: they are run through a layer.
pub(crate) const STATUS_DRIVEN_ELSEWHERE: &[&str] = &[
    "status_classification.rr-exhausted-response-not-error",
    "status_classification.rr-recovers",
    "status_classification.envoy-default-one-retry",
    "status_classification.azure-max-retries-2",
    "status_classification.grpc-committed-after-headers",
    "status_classification.tower-unclonable-first-error",
];

/// Cases of `retry_after.json` that look at real waits: they are run through a layer.
pub(crate) const RETRY_AFTER_DRIVEN_ELSEWHERE: &[&str] = &[
    "retry_after.aws-header-alone-never-makes-retryable",
    "retry_after.faraday-hint-smaller-than-interval",
    "retry_after.faraday-hint-above-max-interval-gives-up",
];
