use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use proptest::prelude::*;

use crate::{
    classify::{Code, Reason, Verdict},
    report::{
        AccountOut, AccountTag, Attempt, Coalesced, Event, Followed, NotResent, OutReason, Outcome,
        PoolDead, RequestRecord, Severity,
    },
};

const POOL_HELP: &str = "update your tokens in Settings (https://...)";

fn out(reason: OutReason, status: Option<u16>, rest: Duration) -> AccountOut {
    let status = status.map(|status| StatusCode::from_u16(status).unwrap());
    AccountOut::new(AccountTag::new("alice", 1, 2), 7, reason, status, rest)
}

#[test]
fn terminal_error_of_a_source_is_quoted() {
    let mut out = out(OutReason::RefreshFailed(Reason::Revoked), None, Duration::MAX);
    let without = r#"account "alice" (#1 of 2): no new token (credential_revoked); retired until a person acts"#;
    assert_eq!(Event::AccountOut(out.clone()).to_string(), without);
    out.error = Some("invalid_grant".into());
    let said = without.replace("token (", r#"token: "invalid_grant" ("#);
    assert_eq!(Event::AccountOut(out).to_string(), said);
}

fn line(reason: OutReason, status: Option<u16>, rest: Duration) -> String {
    Event::AccountOut(out(reason, status, rest)).to_string()
}

fn dead(accounts: usize, reason: OutReason, help: Option<&str>) -> String {
    let cause = out(reason, Some(401), Duration::from_secs(300));
    Event::PoolDead(PoolDead::new(accounts, cause, help.map(Arc::from))).to_string()
}

fn record(outcome: Outcome) -> RequestRecord {
    let mut record = RequestRecord::new(Method::POST, "/v1/videos", outcome);
    record.elapsed = Duration::from_millis(1_234);
    record
}

#[test]
fn account_out_shows_account_reason_and_duration() {
    let s = Duration::from_secs(300);
    let refused = OutReason::Rejected;
    let rows = [
        (
            line(refused(Reason::Invalid), Some(401), s),
            r#"account "alice" (#1 of 2): token rejected (401 credential_invalid); quarantined for 300 s"#,
        ),
        (
            line(refused(Reason::Expired), Some(403), s),
            r#"account "alice" (#1 of 2): token rejected (403 credential_expired); quarantined for 300 s"#,
        ),
        (
            line(refused(Reason::Revoked), None, Duration::from_secs(3600)),
            r#"account "alice" (#1 of 2): token rejected (credential_revoked); quarantined for 3600 s"#,
        ),
        (
            line(refused(Reason::Invalid), None, Duration::from_millis(1)),
            r#"account "alice" (#1 of 2): token rejected (credential_invalid); quarantined for 1 s"#,
        ),
        (
            line(refused(Reason::Inactive), Some(401), Duration::MAX),
            r#"account "alice" (#1 of 2): token rejected (401 credential_inactive); retired until a person acts"#,
        ),
        (
            line(OutReason::OutOfQuota, Some(402), Duration::from_secs(1800)),
            r#"account "alice" (#1 of 2): out of quota (402); cooling for 1800 s"#,
        ),
        (
            line(OutReason::OutOfQuota, None, Duration::ZERO),
            r#"account "alice" (#1 of 2): out of quota; cooling for 0 s"#,
        ),
    ];
    for (is, should) in rows {
        assert_eq!(is, should);
    }
}

#[test]
fn pool_dead_shows_the_help_text() {
    let refused = OutReason::Rejected(Reason::Invalid);
    let invalid = "the last: account \"alice\" (#1 of 2): token rejected (401 credential_invalid); \
                   quarantined for 300 s";
    for (accounts, help, wanted) in [
        (2, POOL_HELP, format!("all 2 credentials are rejected: {POOL_HELP}; {invalid}")),
        (1, "log in again", format!("the only credential is rejected: log in again; {invalid}")),
    ] {
        assert_eq!(dead(accounts, refused, Some(help)), wanted);
    }
    let broke = dead(3, OutReason::OutOfQuota, Some("pay"));
    assert!(broke.starts_with("all 3 accounts are out: pay; the last: account"), "{broke}");
}

#[test]
fn pool_dead_without_help_shows_the_last_incident() {
    assert_eq!(
        dead(2, OutReason::Rejected(Reason::Expired), None),
        "all 2 credentials are rejected; the last: account \"alice\" (#1 of 2): \
         token rejected (401 credential_expired); quarantined for 300 s"
    );
}

#[test]
fn failed_request_shows_every_attempt() {
    let mut record = record(Outcome::Answer(StatusCode::SERVICE_UNAVAILABLE));
    record.request_id = Some("r-1".into());
    record.label = Some("nightly".into());
    let mut first = Attempt::new(Verdict::Unauthorized(Reason::Invalid));
    first.account = Some("alice".into());
    first.credential = true;
    first.model = Some("m-large".into());
    first.status = Some(StatusCode::UNAUTHORIZED);
    first.followed = Followed::Rotated;
    let mut second = Attempt::new(Verdict::transient());
    second.credential = true;
    second.error = Some("connection reset".into());
    second.followed = Followed::Retried(Duration::from_millis(100));
    let mut third = Attempt::new(Verdict::unavailable());
    third.status = Some(StatusCode::SERVICE_UNAVAILABLE);
    third.upstream_request_id = Some("u-3".into());
    third.followed = Followed::NotResent(NotResent::Attempts);
    record.trail = vec![first, second, third];
    assert_eq!(
        Event::RequestFailed(record).to_string(),
        "POST /v1/videos failed with 503 after 3 failed attempts in 1.2 s: \
         [1] account \"alice\", model \"m-large\": 401 credential_invalid, rotated; \
         [2] the caller's credential: error \"connection reset\" transient, retried after 100ms; \
         [3] no credential: 503 transient, not_resent: attempts, upstream id \"u-3\"; \
         request id \"r-1\"; label \"nightly\""
    );
}

#[test]
fn outcomes_of_a_request_differ() {
    let mut recovered = record(Outcome::Answer(StatusCode::OK));
    recovered.trail = vec![Attempt::new(Verdict::limited())];
    let mut dropped = record(Outcome::Dropped);
    dropped.elapsed = Duration::from_micros(12_345);
    let rows = [
        (
            Event::RequestRecovered(recovered),
            "POST /v1/videos recovered with 200 after 1 failed attempt in 1.2 s: \
             [1] no credential: limited, not_resent: final",
        ),
        (
            Event::RequestAbandoned(dropped),
            "POST /v1/videos was abandoned after 0 failed attempts in 12 ms",
        ),
        (
            Event::RequestFailed(record(Outcome::Local(Code::PoolLimited))),
            "POST /v1/videos failed with a local 429 (pool_limited: Every account that could \
             serve this request is cooling down), nothing was sent",
        ),
        (
            Event::RequestFailed(record(Outcome::Error("timed out".into()))),
            "POST /v1/videos failed with error \"timed out\" after 0 failed attempts in 1.2 s",
        ),
    ];
    for (event, should) in rows {
        assert_eq!(event.to_string(), should);
    }
}

#[test]
fn event_has_its_code_and_severity() {
    let failed = |outcome| Event::RequestFailed(record(outcome));
    let sent = || Outcome::Answer(StatusCode::NOT_FOUND);
    let refused = out(OutReason::OutOfQuota, None, Duration::ZERO);
    let dead = PoolDead::new(1, refused.clone(), None);
    let local = Outcome::Local(Code::PoolEmpty);
    // Event, code, severity, whether it is an incident, whether it is a failure.
    let rows = [
        (failed(sent()), "request_failed", Severity::Error, false, true),
        (failed(local), "request_failed", Severity::Debug, false, true),
        (
            Event::RequestRecovered(record(sent())),
            "request_recovered",
            Severity::Debug,
            false,
            false,
        ),
        (
            Event::RequestAbandoned(record(Outcome::Dropped)),
            "request_abandoned",
            Severity::Debug,
            false,
            false,
        ),
        (Event::AccountOut(refused), "account_out", Severity::Warn, true, false),
        (Event::PoolDead(dead), "pool_dead", Severity::Error, true, false),
    ];
    for (event, code, severity, incident, failure) in rows {
        assert_eq!(event.code(), code);
        assert_eq!(event.severity(), severity, "{code}");
        assert_eq!(event.is_incident(), incident, "{code}");
        assert_eq!(event.is_failure(), failure, "{code}");
        assert_eq!(event.record().is_some(), !incident, "{code}");
    }
}

#[test]
fn coalesced_shows_the_count_and_the_last_event() {
    let held = |count, window| {
        let last = Event::RequestFailed(record(Outcome::Answer(StatusCode::NOT_FOUND)));
        Event::Coalesced(Coalesced::new(last, count, window)).to_string()
    };
    let last = "; the last: POST /v1/videos failed with 404 after 0 failed attempts in 1.2 s";
    assert_eq!(
        held(3, Duration::from_secs(60)),
        format!("3 more like this were held back within 60 s{last}")
    );
    assert_eq!(
        held(1, Duration::from_millis(1500)),
        format!("1 more like this was held back within 1.5s{last}")
    );
}

#[test]
fn coalesced_has_the_severity_of_its_last_and_no_record() {
    let rows = [
        (Event::RequestFailed(record(Outcome::Answer(StatusCode::NOT_FOUND))), Severity::Error),
        (Event::RequestFailed(record(Outcome::Local(Code::PoolEmpty))), Severity::Debug),
        (Event::RequestAbandoned(record(Outcome::Dropped)), Severity::Debug),
    ];
    for (last, severity) in rows {
        let event = Event::Coalesced(Coalesced::new(last, 3, Duration::from_secs(60)));
        assert_eq!(event.code(), "coalesced");
        assert_eq!(event.severity(), severity);
        assert!(!event.is_incident() && !event.is_failure());
        assert!(event.record().is_none());
    }
}

#[test]
fn foreign_text_cannot_break_the_line() {
    let tag = AccountTag::new("al\nice\u{202e}\u{1b}[31m", 1, 1);
    let cause = AccountOut::new(tag, 0, OutReason::OutOfQuota, None, Duration::ZERO);
    assert_eq!(
        Event::AccountOut(cause).to_string(),
        r#"account "al\nice\u{202e}\u{1b}[31m" (#1 of 1): out of quota; cooling for 0 s"#
    );
}

proptest! {
    #[test]
    fn any_event_is_one_line(word in any::<String>(), secs in any::<u64>(), n in any::<usize>()) {
        let rest = Duration::from_secs(secs);
        let mut attempt = Attempt::new(Verdict::limited().with_delay(Some(rest)));
        attempt.account = Some(word.as_str().into());
        attempt.model = Some(word.as_str().into());
        attempt.error = Some(word.as_str().into());
        attempt.upstream_request_id = Some(word.as_str().into());
        let outcome = Outcome::Error(word.as_str().into());
        let mut record = RequestRecord::new(Method::GET, word.as_str(), outcome);
        record.trail = vec![attempt];
        record.request_id = Some(word.as_str().into());
        record.label = Some(word.as_str().into());
        record.elapsed = rest;
        let tag = AccountTag::new(word.as_str(), n, n);
        let cause = AccountOut::new(tag, secs, OutReason::OutOfQuota, None, rest);
        let dead = PoolDead::new(n, cause.clone(), Some(word.into()));
        let failed = Event::RequestFailed(record);
        let held = Event::Coalesced(Coalesced::new(failed.clone(), secs, rest));
        for event in [failed, held, Event::AccountOut(cause), Event::PoolDead(dead)] {
            let line = event.to_string();
            let broken = line.contains(|c: char| {
                c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)
            });
            prop_assert!(!broken, "{}", line);
        }
    }
}
