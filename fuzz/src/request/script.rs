//! The fuzzer's bytes as a world: a pool, a layer, requests, and the steps of the upstream.

use std::time::Duration;

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tower_failover::{Classifier, Verdict};

#[derive(Arbitrary, Debug)]
pub(super) struct World<'a> {
    accounts: u8,
    pub(super) groups: u8,
    pub(super) cascade: u8,
    attempts: u8,
    retries: u8,
    max_refusals: u8,
    gap: u8,
    ready_delays: u8,
    pub(super) bucket: Option<u8>,
    pub(super) forbidden: bool,
    pub(super) replace: bool,
    pub(super) models: bool,
    requests: Vec<RequestPlan<'a>>,
    pub(super) steps: Vec<Step<'a>>,
}

/// One request.
#[derive(Arbitrary, Debug)]
pub(super) struct RequestPlan<'a> {
    pub(super) post: bool,
    pub(super) repeatable: bool,
    /// It starts after this many milliseconds.
    pub(super) after: u16,
    pub(super) pin: Option<u8>,
    pub(super) attempts: Option<u8>,
    /// It is dropped after this many polls.
    polls: Option<u8>,
    /// An account gets another credential just before it.
    pub(super) replaces: Option<u8>,
    pub(super) body: Option<&'a [u8]>,
}

/// The reply of the upstream to an attempt.
#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) play: Play,
    /// Milliseconds until the reply.
    pub(super) after: u16,
    headers: Vec<(u8, &'a [u8])>,
    pub(super) body: &'a [u8],
    /// The size of the body's pieces, with a pause after each.
    pub(super) pieces: u8,
    /// The body ends in an error.
    pub(super) cut: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Play {
    /// One of the statuses with a meaning.
    Known(u8),
    Status(u16),
    Connect,
    Reset,
    TimedOut,
    Unknown,
    Hang,
}

const KNOWN: [u16; 16] =
    [200, 204, 400, 401, 402, 403, 404, 408, 422, 425, 429, 500, 502, 503, 504, 529];

/// Statuses that are classified by their body, which arrives at once.
const CLASSIFIED_BY_BODY: [u16; 6] = [400, 402, 403, 404, 429, 529];

const HEADERS: [&str; 9] = [
    "content-type",
    "www-authenticate",
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-reset",
    "x-ratelimit-reset-tokens",
    "grpc-status",
    "grpc-message",
    "x-amzn-errortype",
];

pub(super) fn id_of(account: usize) -> String {
    format!("a{account}")
}

/// The secret that no event may contain.
pub(super) const SECRET: &str = "s3cr3tv4lue";

pub(super) fn token_of(account: usize, generation: u64) -> String {
    format!("{SECRET}-{account}-{generation}")
}

impl World<'_> {
    pub(super) fn accounts(&self) -> usize {
        usize::from(self.accounts % 5) + 1
    }

    pub(super) fn attempts(&self) -> u32 {
        u32::from(self.attempts % 6) + 1
    }

    pub(super) fn retries(&self) -> u32 {
        u32::from(self.retries % 5)
    }

    pub(super) fn max_refusals(&self) -> u32 {
        u32::from(self.max_refusals % 4) + 1
    }

    /// Seconds between rounds.
    pub(super) fn gap(&self) -> u64 {
        [0, 4, 6, 299, 301, 4_000, 100_000, 1][usize::from(self.gap % 8)]
    }

    /// Returns the readiness delays of services, in turn: time for a selected account to be
    /// rejected meanwhile.
    pub(super) fn ready_delays(&self) -> [Duration; 4] {
        [0, 2, 4, 6].map(|at| {
            Duration::from_millis([0, 1, 50, 400][usize::from(self.ready_delays >> at & 3)])
        })
    }

    /// Returns the requests, numbered from 0, in rounds of four concurrent requests.
    pub(super) fn rounds(&self) -> Vec<Vec<(u32, &RequestPlan<'_>)>> {
        let requests: Vec<_> = (0..).zip(self.requests.iter().take(16)).collect();
        requests.chunks(4).map(<[_]>::to_vec).collect()
    }

    pub(super) fn request_plan(&self, id: u32) -> &RequestPlan<'_> {
        &self.requests[id as usize]
    }
}

impl RequestPlan<'_> {
    pub(super) fn polls(&self) -> Option<u8> {
        self.polls.map(|polls| polls % 16)
    }
}

impl Play {
    pub(super) fn error(&self) -> Option<std::io::Error> {
        use std::io::{Error, ErrorKind};
        match self {
            Self::Connect => Some(Error::new(ErrorKind::ConnectionRefused, "refused")),
            Self::Reset => Some(Error::new(ErrorKind::ConnectionReset, "reset")),
            Self::TimedOut => Some(Error::new(ErrorKind::TimedOut, "timed out")),
            Self::Unknown => Some(Error::other("unknown")),
            Self::Known(_) | Self::Status(_) | Self::Hang => None,
        }
    }
}

impl Step<'_> {
    pub(super) fn status(&self) -> Option<StatusCode> {
        let status = match self.play {
            Play::Known(at) => KNOWN[usize::from(at) % KNOWN.len()],
            Play::Status(status) => 200 + status % 800,
            _ => return None,
        };
        StatusCode::from_u16(status).ok()
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.iter().take(8) {
            let name = HeaderName::from_static(HEADERS[usize::from(*name) % HEADERS.len()]);
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name, value);
            }
        }
        // Most bodies with a meaning are JSON.
        if self.body.starts_with(b"{") && !headers.contains_key("content-type") {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        headers
    }

    fn classified_by_body(&self) -> bool {
        self.status().is_some_and(|status| CLASSIFIED_BY_BODY.contains(&status.as_u16()))
    }

    pub(super) fn whole(&self) -> bool {
        !self.cut || self.classified_by_body()
    }

    /// Returns the size of the body's pieces.
    pub(super) fn piece(&self) -> usize {
        if self.pieces == 0 { usize::MAX } else { self.pieces.into() }
    }

    pub(super) fn pauses(&self) -> bool {
        self.pieces > 0 && !self.classified_by_body()
    }

    /// Returns the verdict, which does not depend on time except for delays.
    pub(super) fn verdict(&self) -> Verdict {
        let classifier = Classifier::default();
        if let Some(error) = self.play.error() {
            let error: tower::BoxError = error.into();
            return classifier.classify_error(&error);
        }
        let Some(status) = self.status() else { return Verdict::transient() };
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        *answer.headers_mut() = self.headers();
        let (head, ()) = answer.into_parts();
        let body = self.classified_by_body().then_some(self.body);
        let verdict = classifier.classify(&head, body, std::time::SystemTime::UNIX_EPOCH);
        assert!(status != StatusCode::UNAUTHORIZED || verdict.is_unauthorized(), "{verdict:?}");
        verdict
    }
}
