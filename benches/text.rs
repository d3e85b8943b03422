//! The cost of reading upstream text: error bodies for classification, and error messages for
//! redaction.

#![allow(clippy::wildcard_imports, reason = "a group of benches uses the names of its file")]
#![allow(clippy::unwrap_used, reason = "a bench that panics has failed")]

mod support;

use std::time::SystemTime;

use divan::{Bencher, black_box};
use http::{Response, response::Parts};
use support::{Requests, now, stacks, upstream::Fails};
use tower::{Layer, Service};
use tower_failover::{Classifier, ErrorDedupLayer, FailoverLayer};

fn main() {
    support::main();
}

/// Classification of an answer. Unit: nanoseconds for one answer; the baseline is `status_alone`.
#[divan::bench_group]
mod classify {
    use super::*;

    fn head(status: u16, content_type: &str) -> Parts {
        let response = Response::builder().status(status).header("content-type", content_type);
        response.body(()).unwrap().into_parts().0
    }

    fn time(bencher: Bencher<'_, '_>, head: &Parts, body: Option<&[u8]>) {
        let classifier = Classifier::default();
        bencher.bench_local(|| {
            classifier.classify(black_box(head), black_box(body), SystemTime::UNIX_EPOCH)
        });
    }

    /// `details` without information, then the deciding code.
    fn long(details: usize) -> String {
        let details = "the model is overloaded, ".repeat(details / 25);
        format!(r#"{{"error":{{"details":"{details}","code":"insufficient_quota"}}}}"#)
    }

    #[divan::bench]
    fn status_alone(bencher: Bencher<'_, '_>) {
        time(bencher, &head(503, "text/plain"), None);
    }

    /// A short JSON error, the usual case.
    #[divan::bench]
    fn json(bencher: Bencher<'_, '_>) {
        let body = br#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
        time(bencher, &head(429, "application/json"), Some(body));
    }

    /// KiB of JSON with the deciding member at its end.
    #[divan::bench(args = [1, 64])]
    fn long_json(bencher: Bencher<'_, '_>, kib: usize) {
        let body = long(kib * 1024);
        time(bencher, &head(429, "application/json"), Some(body.as_bytes()));
    }

    /// The HTML page of a proxy, in KiB.
    #[divan::bench(args = [1, 64])]
    fn html(bencher: Bencher<'_, '_>, kib: usize) {
        let body = format!("<html><body>{}</body></html>", "<p>Bad gateway</p>".repeat(kib * 57));
        time(bencher, &head(400, "text/html"), Some(body.as_bytes()));
    }
}

/// A request that fails with an error of this many bytes and is reported. Unit: microseconds for
/// the whole request. The baseline is `without_secrets`: the difference is the search for secrets
/// in the message.
#[divan::bench_group]
mod redact {
    use super::*;

    const BYTES: [usize; 2] = [200, 16 * 1024];

    fn time<S>(bencher: Bencher<'_, '_>, bytes: usize, stack: impl Fn(Fails) -> S)
    where
        S: Service<http::Request<support::Body>, Error: std::fmt::Debug>,
    {
        let text =
            "connection to https://api.example.com/v1?key=x was reset; ".repeat(bytes / 58 + 1);
        let requests = Requests::usual();
        let mut service = stack(Fails(text.get(..bytes).unwrap().into()));
        bencher
            .with_inputs(|| requests.one())
            .bench_local_values(|request| assert!(now(service.call(request)).is_err()));
    }

    #[divan::bench(args = BYTES)]
    fn without_secrets(bencher: Bencher<'_, '_>, bytes: usize) {
        time(bencher, bytes, |fails| ErrorDedupLayer::new(stacks::report).layer(fails));
    }

    fn with(bencher: Bencher<'_, '_>, bytes: usize, accounts: usize) {
        let builder = FailoverLayer::builder().rotation(stacks::pool(accounts));
        let layer = builder.reporter(stacks::report).build().unwrap();
        time(bencher, bytes, |fails| layer.layer(fails));
    }

    #[divan::bench(args = BYTES)]
    fn secrets_8(bencher: Bencher<'_, '_>, bytes: usize) {
        with(bencher, bytes, 8);
    }

    #[divan::bench(args = BYTES)]
    fn secrets_100(bencher: Bencher<'_, '_>, bytes: usize) {
        with(bencher, bytes, 100);
    }

    /// Too many secrets for a search: the message is withheld.
    #[divan::bench(args = BYTES)]
    fn secrets_2000(bencher: Bencher<'_, '_>, bytes: usize) {
        with(bencher, bytes, 2000);
    }
}
