//! Invalid settings are typed errors at build time, which name the remedy and contain no secret.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use std::{error::Error, time::Duration};

use http::{HeaderName, HeaderValue, Uri};
use support::limit;
use tower_failover::{
    Account, BuildError, Credential, FailoverLayer, Pool, RetryPolicy,
    credential::CredentialError,
    fallback::ModelAt,
    pool::{OriginFault, PoolBuilder, PoolError},
    retry::{Backoff, BackoffError, BudgetError, Jitter, WindowBudget},
};

const SECRET: &str = "s3cr3t-t0ken-0123456789";

/// Checks that each form of an error is one line with these words, and without a secret.
fn assert_message(error: &(impl Error + 'static), words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "`{text}` does not contain `{word}`");
    }
    assert!(
        !text.contains('\n') && !text.ends_with('.'),
        "`{text}` is not one line without a full stop"
    );
    let mut shown = format!("{error:?} {error:#?} {text}");
    let mut source = error.source();
    while let Some(error) = source {
        shown = format!("{shown} {error} {error:?}");
        source = error.source();
    }
    for length in [SECRET.len(), 8] {
        let part = &SECRET[..length];
        assert!(!shown.contains(part), "`{shown}` shows a token");
    }
}

fn account(id: &str) -> Account {
    Account::new(id, Credential::bearer(SECRET).unwrap())
}

fn one() -> PoolBuilder {
    Pool::builder().account(account("a"))
}

#[test]
fn badly_copied_token_is_an_error() {
    use CredentialError::{Empty, NotVisible, Quoted, Scheme, WhiteSpace};
    let (space, quotes) = (&["white space", "trim"][..], &["quotation marks", "without"][..]);
    let cases: &[(String, CredentialError, &[&str])] = &[
        (String::new(), Empty, &["empty", "variable or file"]),
        (format!("{SECRET}\n"), WhiteSpace, space),
        (format!("{SECRET}\r\n"), WhiteSpace, space),
        (format!(" {SECRET}"), WhiteSpace, space),
        (format!("{SECRET}\t"), WhiteSpace, space),
        (" ".into(), WhiteSpace, space),
        (format!("\"{SECRET}\""), Quoted, quotes),
        (format!("'{SECRET}'"), Quoted, quotes),
        (format!("Bearer {SECRET}"), Scheme, &["Bearer", "token alone"]),
        (format!("bearer {SECRET}"), Scheme, &["token alone"]),
        (format!("Basic {SECRET}"), Scheme, &["token alone"]),
        (format!("Authorization: Bearer {SECRET}"), Scheme, &["token alone"]),
        (format!("{SECRET}\n{SECRET}"), NotVisible, &["newline", "copy it again"]),
        (format!("{SECRET} {SECRET}"), NotVisible, &["space"]),
        (format!("{SECRET}\0"), NotVisible, &["visible ASCII"]),
        (format!("{SECRET}\u{e9}"), NotVisible, &["visible ASCII"]),
    ];
    for (token, error, words) in cases {
        let places = [
            Credential::bearer(token),
            Credential::header(HeaderName::from_static("x-api-key"), token),
            Credential::query("key", token),
            Credential::scheme("Token", token),
        ];
        for built in places {
            let error_found = built.unwrap_err();
            assert_eq!(error_found, *error, "{}", token.escape_debug());
            assert_message(&error_found, words);
        }
    }
}

#[test]
fn misplaced_credential_is_an_error() {
    let host = Credential::header(HeaderName::from_static("host"), SECRET).unwrap_err();
    assert_eq!(host, CredentialError::Header);
    assert_message(&host, &["header", "upstream documents"]);
    for built in [Credential::query("", SECRET), Credential::query("a=b", SECRET)] {
        let error = built.unwrap_err();
        assert_eq!(error, CredentialError::Name);
        assert_message(&error, &["letters, digits"]);
    }
    assert_eq!(Credential::scheme("a b", SECRET).unwrap_err(), CredentialError::Name);
    let colon = Credential::basic("user:name", SECRET).unwrap_err();
    assert_eq!(colon, CredentialError::Colon);
    assert_message(&colon, &["user name", "two values"]);
    assert_eq!(Credential::basic("", "").unwrap_err(), CredentialError::Empty);
    assert_eq!(
        Credential::basic("u", format!("{SECRET}\n")).unwrap_err(),
        CredentialError::WhiteSpace
    );
}

#[test]
fn pool_without_accounts_or_origins_is_an_error() {
    let empty = Pool::builder().any_origin().build().unwrap_err();
    assert_eq!(empty, PoolError::Empty);
    assert_message(&empty, &[".account(..)", ".may_be_empty()"]);
    let nowhere = one().build().unwrap_err();
    assert_eq!(nowhere, PoolError::NoOrigins);
    assert_message(&nowhere, &[".origins(", ".any_origin()"]);
    let none = one().origins(Vec::<Uri>::new()).build().unwrap_err();
    assert_eq!(none, PoolError::NoOrigins);
    assert!(Pool::builder().any_origin().may_be_empty().build().is_ok());
}

#[test]
fn duplicate_or_empty_account_id_is_an_error() {
    let twice = one().account(account("b")).account(account("a")).any_origin().build().unwrap_err();
    assert!(matches!(&twice, PoolError::DuplicateId { id } if &**id == "a"), "{twice:?}");
    assert_message(&twice, &["`a`", "id of its own"]);
    let nameless = Pool::builder().account(account("")).any_origin().build().unwrap_err();
    assert_eq!(nameless, PoolError::EmptyId);
    assert_message(&nameless, &["empty id"]);
    // At run time as well; the pool is unchanged.
    let pool = one().any_origin().build().unwrap();
    let again = pool.insert(account("a")).unwrap_err();
    assert!(matches!(again, PoolError::DuplicateId { .. }), "{again:?}");
    let unknown = pool.replace("b", Credential::bearer(SECRET).unwrap()).unwrap_err();
    assert!(matches!(&unknown, PoolError::UnknownAccount { id } if &**id == "b"), "{unknown:?}");
    assert_message(&unknown, &["`b`", "insert it first"]);
    assert_eq!(pool.len(), 1);
}

#[test]
fn invalid_origin_is_an_error() {
    for (origin, fault) in [
        ("api.example.com", OriginFault::NoScheme),
        ("https://api.example.com/v1", OriginFault::Path),
        ("https://user@api.example.com", OriginFault::UserInfo),
        ("https://api example.com", OriginFault::NotAUri),
    ] {
        let error = one().origins([origin]).build().unwrap_err();
        match &error {
            PoolError::Origin { fault: found, .. } => assert_eq!(*found, fault, "{origin}"),
            other => panic!("{origin}: {other:?}"),
        }
        assert_message(&error, &["no origin"]);
    }
    // The text before the `@` may be a password.
    let error = one().origins([format!("https://u:{SECRET}@api.example.com")]).build().unwrap_err();
    assert_message(&error, &["leave out"]);
    let elsewhere = account("eu").base_uri(Uri::from_static("https://eu.example.com"));
    let error = one().account(elsewhere).origins(["https://api.example.com"]).build().unwrap_err();
    assert!(matches!(&error, PoolError::BaseOrigin { id, .. } if &**id == "eu"), "{error:?}");
    assert_message(&error, &["`eu`", ".origins(..)"]);
}

#[test]
fn fixed_header_that_carries_a_credential_is_an_error() {
    let authorization = HeaderValue::from_str(&format!("Bearer {SECRET}")).unwrap();
    let other = account("b").header(http::header::AUTHORIZATION, authorization);
    let error = one().account(other).any_origin().build().unwrap_err();
    assert!(matches!(&error, PoolError::HeaderCollides { id, .. } if &**id == "b"), "{error:?}");
    assert_message(&error, &["`b`", "`authorization`", "credential"]);
    let framing = account("b").header(http::header::CONTENT_LENGTH, HeaderValue::from_static("1"));
    let error = one().account(framing).any_origin().build().unwrap_err();
    assert!(matches!(&error, PoolError::HeaderFrames { .. }), "{error:?}");
    assert_message(&error, &["`content-length`", "leave it out"]);
}

#[test]
fn stack_without_effect_is_an_error() {
    let nothing = FailoverLayer::builder().build().unwrap_err();
    assert_eq!(nothing, BuildError::Nothing);
    assert_message(&nothing, &[".rotation(pool)", ".retry(policy)", ".reporter(reporter)"]);
    let retry = || FailoverLayer::builder().retry(RetryPolicy::new());
    for (built, setting) in [
        (retry().max_refusals(limit(2)).build(), "max_refusals"),
        (retry().rotate_forbidden(true).build(), "rotate_forbidden"),
    ] {
        let error = built.unwrap_err();
        assert_eq!(error, BuildError::NoPool(setting));
        assert_message(&error, &[setting, ".rotation(pool)"]);
    }
    let error = retry().model_at(ModelAt::query("model")).build().unwrap_err();
    assert_eq!(error, BuildError::NoModels("model_at"));
    assert_message(&error, &["model_at", ".models("]);
}

#[test]
fn jitter_and_backoff_outside_their_ranges_are_errors() {
    let (nan, endless) = (f64::NAN, f64::INFINITY);
    for (low, high) in
        [(-0.1, 1.0), (0.0, -1.0), (nan, 1.0), (0.0, nan), (0.0, endless), (1.2, 0.8)]
    {
        let error = Jitter::between(low, high).unwrap_err();
        assert_eq!(error, BackoffError::Jitter, "{low} to {high}");
        assert_message(&error, &["between(0.8, 1.2)"]);
    }
    for multiplier in [0.0, 0.99, -2.0, nan, endless] {
        let error = Backoff::DEFAULT.multiplier(multiplier).unwrap_err();
        assert_eq!(error, BackoffError::Multiplier, "{multiplier}");
        assert_message(&error, &["2.0"]);
    }
    let error = Backoff::new(Duration::from_secs(2), Duration::from_secs(1)).unwrap_err();
    assert_eq!(error, BackoffError::Order);
    assert_message(&error, &["`max`", "`initial`"]);
}

#[test]
fn window_budget_outside_its_ranges_is_an_error() {
    let window = Duration::from_secs(10);
    for ratio in [-0.1, f64::NAN, f64::INFINITY, 1000.1] {
        let error = WindowBudget::new(window, ratio, 0).unwrap_err();
        assert_eq!(error, BudgetError::Ratio, "{ratio}");
        assert_message(&error, &["0.2"]);
    }
    for window in [Duration::ZERO, Duration::from_millis(9), Duration::MAX] {
        let error = WindowBudget::new(window, 0.2, 0).unwrap_err();
        assert_eq!(error, BudgetError::Window, "{window:?}");
        assert_message(&error, &["10 ms to 1 h"]);
    }
}
