use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE, response::Parts};
use proptest::prelude::*;

use super::Classifier;
use crate::classify::{
    Cause, Code, ErrorRef, FailureError, ModelFault, NonAuth, NonAuthError, Policy, Reason,
    Verdict, answer::Answer,
};

type BoxError = Box<dyn Error + Send + Sync>;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

fn head(status: u16) -> Parts {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(status).unwrap();
    head
}

fn json(status: u16) -> Parts {
    let mut head = head(status);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head
}

/// A policy that wants every body, returns one verdict for everything, and counts its calls.
#[derive(Clone)]
struct Says {
    verdict: Option<Verdict>,
    wants_body: bool,
    calls: Arc<AtomicUsize>,
}

impl Says {
    fn new(verdict: impl Into<Option<Verdict>>) -> Self {
        Self { verdict: verdict.into(), wants_body: false, calls: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Policy for Says {
    fn wants_body(&self, _: &NonAuth<'_>) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.wants_body
    }

    fn answer(&self, _: &NonAuth<'_>) -> Option<Verdict> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.verdict
    }

    fn error(&self, _: &NonAuthError<'_>) -> Option<Verdict> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.verdict
    }
}

/// Classifies as the driver does: the head, and the body if it is needed.
fn drive(classifier: &Classifier, head: &Parts, body: &[u8]) -> Verdict {
    if classifier.succeeds(head) {
        return Verdict::Success;
    }
    classifier.head(head, now).unwrap_or_else(|| classifier.body(head, body, now()))
}

fn every_verdict() -> impl Strategy<Value = Option<Verdict>> {
    proptest::sample::select(vec![
        None,
        Some(Verdict::Success),
        Some(Verdict::Unauthorized(Reason::Expired)),
        Some(Verdict::Forbidden),
        Some(Verdict::limited()),
        Some(Verdict::out_of_quota()),
        Some(Verdict::model_fault(ModelFault::Overloaded)),
        Some(Verdict::transient()),
        Some(Verdict::unavailable()),
        Some(Verdict::Rejected),
    ])
}

/// Returns answers that reject a credential, in every way.
fn rejections() -> impl Strategy<Value = (Parts, Vec<u8>)> {
    let plain = |head: Parts| (head, Vec::new());
    prop_oneof![
        Just(plain(head(401))),
        Just((json(401), br#"{"error":{"code":"rate_limit_exceeded"}}"#.to_vec())),
        (100..1000_u16).prop_map(move |status| {
            let mut head = head(status);
            head.headers.insert("grpc-status", HeaderValue::from_static("16"));
            plain(head)
        }),
        (100..1000_u16).prop_map(move |status| {
            let mut head = json(status);
            head.extensions.insert(Cause::upstream(Code::CredentialInvalid));
            plain(head)
        }),
        proptest::sample::select(vec![400, 402, 403, 404, 429, 529])
            .prop_map(|status| (json(status), br#"{"error":{"code":"invalid_api_key"}}"#.to_vec())),
        // By a rule: from the head, and from the body.
        (100..1000_u16).prop_map(move |status| {
            let mut head = head(status);
            head.headers.insert("x-dead", HeaderValue::from_static("1"));
            plain(head)
        }),
        Just((head(200), b"dead".to_vec())),
        Just((head(409), b"dead".to_vec())),
    ]
}

fn dead_by_head(answer: &Answer<'_>) -> Option<Reason> {
    answer.headers().contains_key("x-dead").then_some(Reason::Revoked)
}

fn dead_by_body(answer: &Answer<'_>) -> Option<Reason> {
    (answer.body()? == b"dead").then_some(Reason::Revoked)
}

proptest! {
    #[test]
    fn i1_policy_is_not_called_for_a_rejection_and_cannot_lift_it(
        (head, body) in rejections(),
        said in every_verdict(),
        wants_body in any::<bool>(),
    ) {
        let policy = Says { wants_body, ..Says::new(said) };
        let classifier = Classifier::default()
            .policy(policy.clone())
            .also_unauthorized(dead_by_head)
            .also_unauthorized_body([StatusCode::OK, StatusCode::CONFLICT], dead_by_body);
        prop_assert!(drive(&classifier, &head, &body).is_unauthorized());
        prop_assert!(classifier.classify(&head, Some(&body), now()).is_unauthorized());
        prop_assert_eq!(policy.calls(), 0);
    }

    #[test]
    fn policy_is_called_for_failures_alone_and_its_verdict_counts(
        status in 100..1000_u16,
        said in every_verdict(),
        wants_body in any::<bool>(),
    ) {
        prop_assume!(status != 401);
        let policy = Says { wants_body, ..Says::new(said) };
        let classifier = Classifier::default().policy(policy.clone());
        let verdict = drive(&classifier, &head(status), b"");
        if status < 400 {
            prop_assert_eq!(verdict, Verdict::Success);
            prop_assert_eq!(classifier.classify(&head(status), None, now()), Verdict::Success);
            prop_assert_eq!(policy.calls(), 0);
        } else {
            let generic = drive(&Classifier::default(), &head(status), b"");
            prop_assert_eq!(verdict, said.unwrap_or(generic));
            prop_assert!(policy.calls() > 0);
        }
    }

    #[test]
    fn i1_policy_is_not_called_for_a_rejection_inside_an_error(
        said in every_verdict(),
        depth in 0..5_usize,
        which in 0..4_usize,
    ) {
        let policy = Says::new(said);
        let classifier = Classifier::default()
            .policy(policy.clone())
            .also_unauthorized_error(|error: &ErrorRef<'_>| {
                error.is::<std::fmt::Error>().then_some(Reason::Inactive)
            });
        let mut error = rejection_error(which);
        for _ in 0..depth {
            error = io::Error::other(error).into();
        }
        prop_assert!(classifier.classify_error(&error).is_unauthorized());
        prop_assert_eq!(policy.calls(), 0);
    }

    #[test]
    fn error_is_never_a_success(said in every_verdict()) {
        let policy = Says::new(said);
        let verdict = Classifier::default().policy(policy.clone()).classify_error(&io::Error::other("x"));
        prop_assert_eq!(policy.calls(), 1);
        prop_assert_eq!(verdict, match said {
            None => Verdict::transient(),
            Some(Verdict::Success) => Verdict::Rejected,
            Some(other) => other,
        });
    }
}

fn rejection_error(which: usize) -> BoxError {
    match which {
        #[cfg(feature = "reqwest")]
        1 => {
            let answer = Response::builder().status(401).body("").unwrap();
            reqwest::Response::from(answer).error_for_status().unwrap_err().into()
        }
        #[cfg(feature = "tonic")]
        2 => tonic::Status::unauthenticated("no").into(),
        // By a rule.
        3 => std::fmt::Error.into(),
        _ => FailureError::new(Cause::local(Code::CredentialInvalid), StatusCode::OK).into(),
    }
}

#[test]
fn rule_gives_a_401_a_better_reason_and_cannot_lift_it() {
    let expired = |_: &Answer<'_>| Some(Reason::Expired);
    let silent = |_: &Answer<'_>| None;
    let reason = |classifier: Classifier| drive(&classifier, &head(401), b"dead");
    let invalid = Verdict::Unauthorized(Reason::Invalid);
    assert_eq!(reason(Classifier::default().also_unauthorized(silent)), invalid);
    let refined = Classifier::default().also_unauthorized(expired);
    assert_eq!(reason(refined), Verdict::Unauthorized(Reason::Expired));
    let from_body =
        Classifier::default().also_unauthorized_body([StatusCode::UNAUTHORIZED], dead_by_body);
    assert_eq!(from_body.head(&head(401), now), None);
    assert_eq!(reason(from_body), Verdict::Unauthorized(Reason::Revoked));
}

#[test]
fn success_is_doubted_only_by_rules_for_answers() {
    let doubts = |classifier: Classifier| !classifier.succeeds(&head(200));
    assert!(!doubts(Classifier::default()));
    assert!(!doubts(Classifier::default().policy(Says::new(Verdict::Forbidden))));
    assert!(!doubts(Classifier::default().also_unauthorized_error(|_: &ErrorRef<'_>| None)));
    assert!(doubts(Classifier::default().also_unauthorized(dead_by_head)));
}

#[test]
fn closure_policy_reads_no_body() {
    let policy = |_: &NonAuth<'_>| Some(Verdict::unavailable());
    let classifier = Classifier::default().policy(policy);
    assert_eq!(classifier.head(&json(409), now), Some(Verdict::unavailable()));
}

#[test]
fn body_rule_reads_the_bodies_of_its_statuses_alone() {
    let classifier = Classifier::default().also_unauthorized_body([StatusCode::OK], dead_by_body);
    assert!(!classifier.succeeds(&head(200)));
    assert_eq!(classifier.head(&head(200), now), None);
    assert_eq!(classifier.head(&head(201), now), Some(Verdict::Success));
    assert_eq!(drive(&classifier, &head(200), b"fine"), Verdict::Success);
    assert_eq!(drive(&classifier, &head(201), b"dead"), Verdict::Success);
}

#[test]
fn server_delay_is_filled_in_if_the_policy_gives_none() {
    let mut head = head(409);
    head.headers.insert("retry-after", HeaderValue::from_static("7"));
    let seven = Some(Duration::from_secs(7));
    let one = Some(Duration::from_secs(1));
    for (said, wanted) in [
        (Verdict::unavailable(), Verdict::unavailable().with_delay(seven)),
        (Verdict::limited(), Verdict::limited().with_delay(seven)),
        (Verdict::limited().with_delay(one), Verdict::limited().with_delay(one)),
        (Verdict::Forbidden, Verdict::Forbidden),
    ] {
        let classifier = Classifier::default().policy(Says::new(said));
        assert_eq!(classifier.head(&head, now), Some(wanted));
    }
}

#[test]
fn policy_sees_the_body_it_wants_and_its_code() {
    struct ByCode;
    impl Policy for ByCode {
        fn wants_body(&self, answer: &NonAuth<'_>) -> bool {
            answer.status() == StatusCode::CONFLICT
        }
        fn answer(&self, answer: &NonAuth<'_>) -> Option<Verdict> {
            assert_eq!(answer.generic(), Verdict::Rejected);
            assert_eq!(answer.error_message(), Some("busy"));
            assert!(answer.body()?.starts_with(b"{\"error\""));
            (answer.error_code()? == "lock_timeout").then_some(Verdict::unavailable())
        }
    }
    let classifier = Classifier::default().policy(ByCode);
    let body = br#"{"error":{"message":"busy","code":"lock_timeout"}}"#;
    assert_eq!(classifier.head(&json(409), now), None);
    assert_eq!(drive(&classifier, &json(409), body), Verdict::unavailable());
}

#[test]
fn wall_clock_is_read_only_for_failures_that_can_have_a_delay() {
    let unread = || -> SystemTime { panic!("read the clock") };
    let classifier = Classifier::default();
    for status in [200, 304, 401, 422, 501] {
        assert!(classifier.head(&head(status), unread).is_some());
    }
}

#[test]
fn walk_opens_an_error_type_of_the_user() {
    #[derive(Debug, thiserror::Error)]
    #[error("mine")]
    struct Mine(#[source] FailureError);
    let error = Mine(FailureError::new(Cause::local(Code::PoolEmpty), StatusCode::OK));
    assert_eq!(Classifier::default().classify_error(&error), Verdict::transient());
    let walking = Classifier::default().walk::<Mine>();
    assert!(walking.classify_error(&error).is_unauthorized());
}

#[test]
fn clone_is_unaffected_by_changes_to_the_original() {
    let first = Classifier::default().policy(Says::new(Verdict::Forbidden));
    let second = first.clone().policy(Says::new(Verdict::Rejected));
    assert_eq!(drive(&first, &head(500), b""), Verdict::Forbidden);
    assert_eq!(drive(&second, &head(500), b""), Verdict::Rejected);
    assert_eq!(size_of::<Classifier>(), size_of::<usize>());
}

#[test]
fn policy_is_object_safe_and_classifier_can_be_shared() {
    const fn shared<T: Send + Sync + Clone + 'static>() {}
    const { shared::<Classifier>() };
    let boxed: Box<dyn Policy> = Box::new(|_: &NonAuth<'_>| Some(Verdict::Forbidden));
    let head = head(500);
    let answer = NonAuth::try_new(&head, None).unwrap();
    assert_eq!(boxed.answer(&answer), Some(Verdict::Forbidden));
    assert_eq!(boxed.error(&NonAuthError::try_new(&1).unwrap()), None);
}
