//! Tower layers for token-authenticated HTTP APIs.
