use http::{
    HeaderName, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, HOST},
    request::Parts,
};
use proptest::prelude::*;

use super::support::*;
use crate::{
    classify::Code,
    credential::{Account, Credential},
    pool::{Pool, select::Query},
};

fn parts(uri: &str) -> Parts {
    Request::get(uri).body(()).unwrap().into_parts().0
}

fn all(parts: &Parts, name: &str) -> Vec<String> {
    let values = parts.headers.get_all(name);
    values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn apply(bench: &Bench, id: &str, parts: &mut Parts) -> Result<(), Code> {
    bench.pinned(id).unwrap().apply(parts)
}

fn name(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn mixed() -> Bench {
    let key = Credential::header(name("x-api-key"), "key-of-bob").unwrap();
    let query = Credential::query("key", "key/of+carol").unwrap();
    let dave = account("dave")
        .base_uri(Uri::from_static("https://eu.example.com:8443/"))
        .header(name("x-org"), HeaderValue::from_static("dave-1"))
        .header(name("x-org"), HeaderValue::from_static("dave-2"));
    let builder = Pool::builder()
        .account(account("alice"))
        .account(Account::new("bob", key))
        .account(Account::new("carol", query))
        .account(dave)
        .origins(["https://api.example.com", "https://eu.example.com:8443"]);
    Bench::new(builder)
}

#[test]
fn exactly_one_authorization_is_sent_and_it_is_sensitive() {
    let bench = mixed();
    let mut parts = parts("https://api.example.com/v1");
    parts.headers.append(AUTHORIZATION, HeaderValue::from_static("Basic own"));
    parts.headers.append(AUTHORIZATION, HeaderValue::from_static("Basic own-2"));
    apply(&bench, "alice", &mut parts).unwrap();
    assert_eq!(all(&parts, "authorization"), ["Bearer tok-of-alice-0"]);
    assert!(parts.headers[AUTHORIZATION].is_sensitive());
}

#[test]
fn caller_authorization_is_never_sent_with_another_credential() {
    let key = Credential::header(name("x-api-key"), "key-of-bob").unwrap();
    let query = Credential::query("key", "key-of-bob").unwrap();
    for credential in [key, query] {
        let bob = Account::new("bob", credential);
        let bench = Bench::new(Pool::builder().any_origin().account(bob));
        let mut parts = parts("https://api.example.com/v1");
        parts.headers.insert(AUTHORIZATION, HeaderValue::from_static("Basic own"));
        apply(&bench, "bob", &mut parts).unwrap();
        assert_eq!(all(&parts, "authorization"), [""; 0]);
    }
}

#[test]
fn account_removes_what_another_one_put_on() {
    let bench = mixed();
    let clean = |id: &str| {
        let mut parts = parts("https://api.example.com/v1?a=1");
        apply(&bench, id, &mut parts).unwrap();
        (parts.uri, parts.headers)
    };
    for first in ["alice", "bob", "carol"] {
        for second in ["alice", "bob", "carol", "dave"] {
            let mut parts = parts("https://api.example.com/v1?a=1");
            apply(&bench, first, &mut parts).unwrap();
            apply(&bench, second, &mut parts).unwrap();
            assert_eq!((parts.uri, parts.headers), clean(second), "{first}, then {second}");
        }
    }
    // The fixed headers of one with a base URI, whose authority stays.
    let mut parts = parts("https://api.example.com/v1");
    parts.headers.insert("x-mine", HeaderValue::from_static("1"));
    apply(&bench, "dave", &mut parts).unwrap();
    assert_eq!(all(&parts, "x-org"), ["dave-1", "dave-2"]);
    apply(&bench, "bob", &mut parts).unwrap();
    assert_eq!(all(&parts, "x-org"), [""; 0]);
    assert_eq!(all(&parts, "x-mine"), ["1"]);
    assert_eq!(all(&parts, "x-api-key"), ["key-of-bob"]);
}

#[test]
fn caller_value_of_a_fixed_header_stays_with_other_accounts() {
    let bench = mixed();
    let mut parts = parts("https://api.example.com/v1");
    parts.headers.insert("x-org", HeaderValue::from_static("mine"));
    apply(&bench, "alice", &mut parts).unwrap();
    assert_eq!(all(&parts, "x-org"), ["mine"]);
    apply(&bench, "dave", &mut parts).unwrap();
    assert_eq!(all(&parts, "x-org"), ["dave-1", "dave-2"]);
}

#[test]
fn base_uri_replaces_scheme_authority_and_host() {
    let bench = mixed();
    let mut parts = parts("http://elsewhere.test/v1/x?y=1");
    parts.headers.insert(HOST, HeaderValue::from_static("elsewhere.test"));
    apply(&bench, "dave", &mut parts).unwrap();
    assert_eq!(parts.uri, "https://eu.example.com:8443/v1/x?y=1");
    assert_eq!(all(&parts, "host"), ["eu.example.com:8443"]);
    let mut no_host = self::parts("/v1");
    apply(&bench, "dave", &mut no_host).unwrap();
    assert_eq!(no_host.uri, "https://eu.example.com:8443/v1");
    assert!(!no_host.headers.contains_key(HOST), "the client puts it on");
}

#[test]
fn query_key_is_added_to_the_callers_query() {
    let bench = mixed();
    let rows = [
        ("https://api.example.com", "https://api.example.com/?key=key%2Fof%2Bcarol"),
        ("https://api.example.com/v1?", "https://api.example.com/v1?key=key%2Fof%2Bcarol"),
        ("/v1?a=1&b", "/v1?a=1&b&key=key%2Fof%2Bcarol"),
        ("/v1?key=own&a=1&k%65y=own2&key", "/v1?a=1&key=key%2Fof%2Bcarol"),
        ("/v1?keys=1&a=key", "/v1?keys=1&a=key&key=key%2Fof%2Bcarol"),
    ];
    for (before, after) in rows {
        let mut parts = parts(before);
        apply(&bench, "carol", &mut parts).unwrap();
        assert_eq!(parts.uri, after);
    }
}

#[test]
fn request_without_a_place_for_the_key_is_unchanged() {
    let bench = mixed();
    let long = format!("/{}", "a".repeat(65_530));
    for uri in ["*", &long] {
        let mut parts = parts(uri);
        let before = parts.uri.clone();
        let result = apply(&bench, "carol", &mut parts);
        assert_eq!(result, Err(Code::CredentialMissing), "{}", &uri[..1]);
        assert_eq!(parts.uri, before);
        assert!(parts.headers.is_empty());
    }
}

#[test]
fn credentials_are_sent_to_the_origins_of_the_pool_only() {
    let bench = Bench::new(accounts(&[]).account(account("alice")));
    let listed = Pool::builder()
        .account(account("alice"))
        .origins(["https://API.example.com", "http://127.0.0.1:8080/"])
        .origins([Uri::from_static("https://[::1]:443")])
        .build()
        .unwrap();
    let listed = Bench { pool: listed, now: bench.now };
    let rows = [
        ("https://api.example.com/v1", true),
        ("https://api.EXAMPLE.com:443/v1", true),
        ("HTTPS://api.example.com/", true),
        ("https://user@api.example.com/", true),
        ("/v1", true),
        ("http://127.0.0.1:8080/v1", true),
        ("https://[::1]/", true),
        ("http://api.example.com/v1", false),
        ("https://api.example.com:444/v1", false),
        ("https://api.example.com.evil.test/", false),
        ("https://evil.test/api.example.com", false),
        ("https://api.example.com@evil.test/", false),
        ("http://127.0.0.1/", false),
        ("api.example.com:443", false),
    ];
    for (uri, allowed) in rows {
        let mut parts = parts(uri);
        parts.headers.insert(AUTHORIZATION, HeaderValue::from_static("own"));
        let result = apply(&listed, "alice", &mut parts);
        assert_eq!(result.is_ok(), allowed, "{uri}");
        if !allowed {
            assert_eq!(result, Err(Code::OriginNotAllowed));
            assert_eq!(all(&parts, "authorization"), ["own"]);
        }
        assert!(apply(&bench, "alice", &mut self::parts(uri)).is_ok(), "{uri} with any origin");
    }
}

#[test]
fn caller_credential_is_seen_wherever_the_pool_puts_one() {
    let bench = mixed();
    let own = |uri: &str, header: Option<&'static str>| {
        let mut parts = parts(uri);
        if let Some(header) = header {
            parts.headers.insert(header, HeaderValue::from_static("x"));
        }
        bench.pool.carries_own(&parts)
    };
    assert!(own("/", Some("authorization")));
    assert!(own("/", Some("x-api-key")));
    assert!(own("/?a=1&key=2", None));
    assert!(own("/?%6bey=2", None));
    assert!(!own("/?keys=1", Some("x-other")));
    let bearer = Bench::new(accounts(&["alice"]));
    assert!(!bearer.pool.carries_own(&parts("/?key=1")));
    // A credential in a new place is known from then on.
    let key = Credential::header(name("x-api-key"), "key-of-alice").unwrap();
    bearer.pool.replace("alice", key).unwrap();
    let mut with_key = parts("/");
    with_key.headers.insert("x-api-key", HeaderValue::from_static("x"));
    assert!(bearer.pool.carries_own(&with_key));
}

proptest! {
    #[test]
    fn any_query_is_kept_but_for_the_key(query in "[a-z%&=0-9]{0,30}") {
        let Ok(uri) = format!("/v1?{query}").parse::<Uri>() else { return Ok(()) };
        let bench = mixed();
        let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        let carol = Query { pin: Some(crate::pool::select::Pin::Strict("carol")), ..ANY };
        bench.query(&carol).unwrap().apply(&mut parts).unwrap();
        let pairs = |query: &str| -> Vec<String> {
            let kept = query.split('&').filter(|pair| !pair.is_empty());
            kept.filter(|pair| pair.split('=').next() != Some("key")).map(str::to_owned).collect()
        };
        prop_assert_eq!(pairs(parts.uri.query().unwrap()), pairs(&query));
        prop_assert_eq!(parts.uri.query().unwrap().matches("key%2Fof%2Bcarol").count(), 1);
    }
}

#[test]
fn query_without_a_key_of_the_pools_is_left_as_it_is() {
    let bench = mixed();
    for uri in ["/v1?a=1&&b=%41&", "/v1?", "/v1?keys=1&&", "/v1", "/v1?&?&"] {
        let uri = format!("https://api.example.com{uri}");
        let mut parts = parts(&uri);
        apply(&bench, "alice", &mut parts).unwrap();
        assert_eq!(parts.uri, uri.parse::<Uri>().unwrap());
    }
    let mut parts = parts("https://api.example.com/v1?a=1&&k%65y=of-another&b=2");
    apply(&bench, "alice", &mut parts).unwrap();
    assert_eq!(parts.uri, "https://api.example.com/v1?a=1&b=2");
}
