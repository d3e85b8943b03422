//! Requests and pools in one line.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_failover::{
    Account, Credential, Pool, Reporter, pool::PoolBuilder, report::ReporterHandle,
};

use super::Recorder;

/// The body of every test request.
pub(crate) type Body = Full<Bytes>;

pub(crate) fn get() -> Request<Body> {
    Request::get("https://api.example.com/videos/42?key=q").body(Full::default()).unwrap()
}

pub(crate) fn post() -> Request<Body> {
    Request::post("https://api.example.com/videos")
        .body(Full::from(r#"{"model":"m1","prompt":"a cat"}"#))
        .unwrap()
}

/// Builds an account `id` with the token `tok-<id>`.
pub(crate) fn account(id: &str) -> Account {
    Account::new(id, Credential::bearer(format!("tok-{id}")).unwrap())
}

/// Returns a builder with these accounts, any origin, and this reporter.
pub(crate) fn builder(ids: &[&str], recorder: &Recorder) -> PoolBuilder {
    Pool::builder()
        .accounts(ids.iter().map(|id| account(id)))
        .any_origin()
        .help("update your tokens in Settings (https://example.com/settings)")
        .reporter(recorder.clone())
}

/// Builds a pool with these accounts.
pub(crate) fn pool(ids: &[&str], recorder: &Recorder) -> Pool {
    builder(ids, recorder).build().unwrap()
}
