//! The steps of a world's upstream and their verdicts, as an oracle independent of the classifier.

use std::{error::Error, fmt, io};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;
use tower::BoxError;
use tower_failover::{
    Cause, Classifier, Code, Policy, Reason, Verdict,
    classify::{Delivery, ErrorRef, FailureError, ModelFault, NonAuth, NonAuthError},
};

/// One kind of reply of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    Status(u16),
    /// A trailers-only answer.
    Grpc(u8),
    /// A 401 whose challenge says that the token was revoked.
    Revoked,
    /// AWS's error for an expired token.
    Aws,
    /// The model does not exist.
    NoModel,
    /// The request exceeds the model's context.
    TooLong,
    /// The request violates the model's content policy.
    OffLimits,
    /// Google's error for an invalid key, visible only in the body.
    KeyInvalid,
    Connect,
    Reset,
    TimedOut,
    Unknown,
    /// A user's error type that a rule classifies as unauthorized.
    Denied,
    /// An error that contains this crate's own error.
    Failure,
    /// Never answers.
    Hang,
}

/// A reply of the upstream and its delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) play: Play,
    /// Milliseconds until the answer.
    pub(crate) after: u64,
    pub(crate) retry_after: Option<u64>,
}

/// The replies that reject a credential.
pub(crate) const REJECTIONS: [Play; 8] = [
    Play::Status(401),
    Play::Revoked,
    Play::Grpc(16),
    Play::Aws,
    Play::KeyInvalid,
    Play::Denied,
    Play::Failure,
    Play::Status(401),
];

impl Step {
    pub(crate) const fn now(play: Play) -> Self {
        Self { play, after: 0, retry_after: None }
    }

    /// Returns the verdict without a policy.
    pub(crate) fn plain(&self) -> Verdict {
        let delay = self.retry_after.map(std::time::Duration::from_secs);
        let transient = |delivery, timeout| Verdict::Transient { delay: None, delivery, timeout };
        let rejected = |reason| Verdict::Unauthorized(reason);
        let verdict = match self.play {
            Play::Status(200 | 204) | Play::Grpc(0) => Verdict::Success,
            Play::Status(401)
            | Play::Grpc(16)
            | Play::KeyInvalid
            | Play::Denied
            | Play::Failure => rejected(Reason::Invalid),
            Play::Revoked => rejected(Reason::Revoked),
            Play::Aws => rejected(Reason::Expired),
            Play::Status(402) => Verdict::out_of_quota(),
            Play::Status(403) if delay.is_some() => Verdict::limited(),
            Play::Status(403) => Verdict::Forbidden,
            Play::Status(429) | Play::Grpc(8) => Verdict::limited(),
            Play::NoModel => Verdict::model_fault(ModelFault::NotFound),
            Play::TooLong => Verdict::model_fault(ModelFault::ContextTooLong),
            Play::OffLimits => Verdict::model_fault(ModelFault::ContentPolicy),
            Play::Status(529) => Verdict::model_fault(ModelFault::Overloaded),
            Play::Status(503) | Play::Grpc(14) | Play::Connect => {
                transient(Delivery::Refused, false)
            }
            Play::Status(408 | 500 | 502 | 504) | Play::Grpc(13) | Play::Reset | Play::Unknown => {
                transient(Delivery::PerhapsDone, false)
            }
            Play::TimedOut => transient(Delivery::PerhapsDone, true),
            Play::Status(_) | Play::Grpc(_) => Verdict::Rejected,
            Play::Hang => transient(Delivery::PerhapsDone, false),
        };
        if self.is_error() { verdict } else { verdict.with_delay(delay) }
    }

    pub(crate) fn rejects(&self) -> bool {
        self.plain().is_unauthorized()
    }

    pub(crate) const fn is_error(&self) -> bool {
        matches!(
            self.play,
            Play::Connect
                | Play::Reset
                | Play::TimedOut
                | Play::Unknown
                | Play::Denied
                | Play::Failure
                | Play::Hang
        )
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        Some(match self.play {
            Play::Status(status) => StatusCode::from_u16(status).unwrap(),
            Play::Grpc(_) => StatusCode::OK,
            Play::Revoked => StatusCode::UNAUTHORIZED,
            Play::Aws => StatusCode::FORBIDDEN,
            Play::NoModel => StatusCode::NOT_FOUND,
            Play::KeyInvalid | Play::TooLong | Play::OffLimits => StatusCode::BAD_REQUEST,
            _ => return None,
        })
    }

    /// Returns the headers of the answer to attempt `n`.
    pub(crate) fn headers(&self, n: usize) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
        };
        put("x-attempt", n.to_string());
        put("x-request-id", format!("up-{n}"));
        if let Some(seconds) = self.retry_after {
            put("retry-after", seconds.to_string());
        }
        match self.play {
            Play::Grpc(code) => {
                put("content-type", "application/grpc".into());
                put("grpc-status", code.to_string());
            }
            Play::Revoked => put(
                "www-authenticate",
                r#"Bearer error="invalid_token", error_description="The token was revoked""#.into(),
            ),
            Play::Aws => put("x-amzn-errortype", "ExpiredTokenException".into()),
            Play::KeyInvalid | Play::NoModel | Play::TooLong | Play::OffLimits => {
                put("content-type", "application/json".into());
            }
            _ => {}
        }
        headers
    }

    /// Returns the body of the answer to attempt `n`, which is unique.
    pub(crate) fn body(&self, n: usize) -> String {
        let coded = |code: &str| format!(r##"{{"error":{{"code":"{code}","message":"#{n}"}}}}"##);
        match self.play {
            Play::NoModel => coded("model_not_found"),
            Play::TooLong => coded("context_length_exceeded"),
            Play::OffLimits => coded("content_policy_violation"),
            Play::KeyInvalid => format!(
                r#"{{"error":{{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid. #{n}","details":[{{"reason":"API_KEY_INVALID"}}]}}}}"#
            ),
            _ => format!("answer #{n}"),
        }
    }

    /// Returns the error for attempt `n`, which is unique.
    pub(crate) fn error(&self, n: usize) -> BoxError {
        let numbered = |source| Numbered { n, play: self.play, source };
        let wrapped = |kind| Box::new(io::Error::new(kind, numbered(None)));
        match self.play {
            Play::Connect => wrapped(io::ErrorKind::ConnectionRefused),
            Play::Reset => wrapped(io::ErrorKind::ConnectionReset),
            Play::TimedOut => wrapped(io::ErrorKind::TimedOut),
            Play::Denied => Box::new(Denied { n }),
            Play::Failure => {
                let cause = Cause::local(Code::CredentialInvalid);
                let own = FailureError::new(cause, StatusCode::UNAUTHORIZED);
                Box::new(numbered(Some(own)))
            }
            _ => Box::new(numbered(None)),
        }
    }
}

/// An error with the number of its attempt.
#[derive(Debug)]
pub(crate) struct Numbered {
    n: usize,
    play: Play,
    source: Option<FailureError>,
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} #{}", self.play, self.n)
    }
}

impl Error for Numbered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

/// A user's error type.
#[derive(Debug)]
pub(crate) struct Denied {
    n: usize,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied #{}", self.n)
    }
}

impl Error for Denied {}

/// A policy that returns the verdicts of a list and records the attempts it was called for.
#[derive(Clone, Debug)]
pub(crate) struct ListPolicy {
    pub(crate) verdicts: Vec<Option<Verdict>>,
    pub(crate) calls: std::sync::Arc<std::sync::Mutex<Vec<usize>>>,
}

impl ListPolicy {
    pub(crate) fn new(verdicts: Vec<Option<Verdict>>) -> Self {
        Self { verdicts, calls: std::sync::Arc::default() }
    }

    pub(crate) fn verdict_for(&self, n: usize) -> Option<Verdict> {
        if self.verdicts.is_empty() { None } else { self.verdicts[n % self.verdicts.len()] }
    }

    fn record(&self, n: usize) -> Option<Verdict> {
        self.calls.lock().unwrap().push(n);
        self.verdict_for(n)
    }

    pub(crate) fn classifier(&self) -> Classifier {
        Classifier::default()
            .also_unauthorized_error(|error: &ErrorRef<'_>| {
                error.is::<Denied>().then_some(Reason::Invalid)
            })
            .policy(self.clone())
    }
}

impl Policy for ListPolicy {
    fn wants_body(&self, answer: &NonAuth<'_>) -> bool {
        attempt_of(answer.headers()).is_some_and(|n| n % 3 == 0)
    }

    fn answer(&self, answer: &NonAuth<'_>) -> Option<Verdict> {
        self.record(attempt_of(answer.headers())?)
    }

    fn error(&self, error: &NonAuthError<'_>) -> Option<Verdict> {
        self.record(error.downcast_ref::<Numbered>()?.n)
    }
}

pub(crate) fn attempt_of(headers: &HeaderMap) -> Option<usize> {
    headers.get("x-attempt")?.to_str().ok()?.parse().ok()
}

// === strategies ===

pub(crate) fn rejection() -> impl Strategy<Value = Play> {
    proptest::sample::select(REJECTIONS.to_vec())
}

pub(crate) fn play() -> impl Strategy<Value = Play> {
    prop_oneof![
        5 => Just(Play::Status(200)),
        9 => proptest::sample::select(vec![400, 402, 403, 404, 408, 429, 500, 502, 503, 504, 529])
            .prop_map(Play::Status),
        4 => Just(Play::Status(503)),
        4 => proptest::sample::select(vec![
            Play::NoModel,
            Play::TooLong,
            Play::OffLimits,
            Play::Status(529),
            Play::Status(429),
        ]),
        3 => rejection(),
        2 => proptest::sample::select(vec![8, 13, 14, 5]).prop_map(Play::Grpc),
        4 => proptest::sample::select(vec![Play::Connect, Play::Reset, Play::TimedOut, Play::Unknown]),
        1 => Just(Play::Hang),
    ]
}

pub(crate) fn retry_after() -> impl Strategy<Value = Option<u64>> {
    proptest::sample::select(vec![
        None,
        None,
        None,
        None,
        Some(0),
        Some(1),
        Some(3),
        Some(30),
        Some(100_000),
        Some(u64::MAX),
    ])
}

pub(crate) fn millis() -> impl Strategy<Value = u64> {
    proptest::sample::select(vec![0, 0, 0, 1, 10, 150, 700, 6_000])
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    (play(), millis(), retry_after()).prop_map(|(play, after, retry_after)| Step {
        play,
        after,
        retry_after,
    })
}

/// Generates a verdict of a policy.
pub(crate) fn opinion() -> impl Strategy<Value = Option<Verdict>> {
    proptest::sample::select(vec![
        None,
        Some(Verdict::unavailable()),
        Some(Verdict::unavailable()),
        Some(Verdict::transient()),
        Some(Verdict::Success),
        Some(Verdict::limited()),
        Some(Verdict::out_of_quota()),
        Some(Verdict::Rejected),
        Some(Verdict::Forbidden),
        Some(Verdict::Unauthorized(Reason::Expired)),
        Some(Verdict::Unauthorized(Reason::Revoked)),
        Some(Verdict::model_fault(ModelFault::NotFound)),
        Some(Verdict::model_fault(ModelFault::Overloaded)),
    ])
}

pub(crate) fn opinions() -> impl Strategy<Value = Vec<Option<Verdict>>> {
    prop_oneof![
        3 => Just(Vec::new()),
        2 => Just(vec![Some(Verdict::unavailable())]),
        2 => proptest::collection::vec(opinion(), 1..8),
    ]
}
