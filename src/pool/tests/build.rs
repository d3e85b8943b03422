use std::{fmt::Write, time::Duration};

use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::support::*;
use crate::{
    credential::{Account, Credential},
    pool::{OriginFault, Pool, PoolError, account::entry},
};

const API: [&str; 1] = ["https://api.example.com"];

fn key_account(id: &str) -> Account {
    let name = HeaderName::from_static("x-api-key");
    Account::new(id, Credential::header(name, format!("key-of-{id}-0")).unwrap())
}

// One table.
#[allow(clippy::too_many_lines)]
#[test]
fn build_error_says_what_to_change() {
    let org = HeaderName::from_static("x-org");
    let value = HeaderValue::from_static("1");
    let pool = || Pool::builder().account(account("alice"));
    let rows = [
        (
            Pool::builder().any_origin(),
            "the pool has no account: add one with `.account(..)`, or say `.may_be_empty()` \
             if accounts are inserted later",
        ),
        (
            pool(),
            "the pool has no origins: name those that its credentials may be sent to with \
             `.origins([\"https://api.example.com\"])`, or say `.any_origin()`",
        ),
        (
            pool().account(account("alice")).origins(API),
            "two accounts are called `alice`: give each an id of its own",
        ),
        (
            pool().account(account("")).origins(API),
            "an account has an empty id: give it one that its owner knows it by",
        ),
        (
            pool().origins(["https://api.example.com/v1"]),
            "`https://api.example.com/v1` is no origin: \
             leave out the path; scheme, host and port are what counts",
        ),
        (
            pool().origins(["https://api.example.com?x=1"]),
            "`https://api.example.com/` is no origin: \
             leave out the path; scheme, host and port are what counts",
        ),
        (
            pool().origins(["api.example.com"]),
            "`api.example.com` is no origin: write the scheme before the host, as in `https://host`",
        ),
        (
            pool().origins(["https://user:hunter2@api.example.com"]),
            "`https://api.example.com/` is no origin: leave out what stands before the `@`",
        ),
        (
            pool().origins(["https://good.example.com", "not a uri"]),
            "`origin #2` is no origin: write it as `https://host` or `https://host:port`",
        ),
        (
            pool().account(account("bob").base_uri(Uri::from_static("/v1"))).origins(API),
            "the base URI of account `bob` is not usable: \
             write the scheme before the host, as in `https://host`",
        ),
        (
            pool()
                .account(account("bob").base_uri(Uri::from_static("https://api.example.com/v1")))
                .origins(API),
            "the base URI of account `bob` is not usable: \
             leave out the path; scheme, host and port are what counts",
        ),
        (
            pool()
                .account(account("bob").base_uri(Uri::from_static("https://eu.example.com")))
                .origins(API),
            "account `bob` lives at `https://eu.example.com/`, which is none of the pool's origins: \
             add it to `.origins(..)`",
        ),
        (
            pool().account(account("bob").header(AUTHORIZATION, value.clone())).origins(API),
            "account `bob` has a fixed header `authorization`, which carries a credential: \
             give it as the account's credential, or leave it out",
        ),
        (
            pool()
                .account(account("bob").header(HeaderName::from_static("x-api-key"), value.clone()))
                .account(key_account("carol"))
                .origins(API),
            "account `bob` has a fixed header `x-api-key`, which carries a credential: \
             give it as the account's credential, or leave it out",
        ),
        (
            pool().account(account("bob").header(http::header::HOST, value.clone())).origins(API),
            "account `bob` has a fixed header `host`, which frames or routes the message: \
             leave it out",
        ),
    ];
    for (builder, message) in rows {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
    let good = pool().account(key_account("bob").header(org, value)).origins(API);
    assert_eq!(good.build().unwrap().len(), 2);
}

#[test]
fn insert_makes_the_same_checks_as_build() {
    let pool = accounts(&["alice"])
        .account(
            account("bob").header(HeaderName::from_static("x-org"), HeaderValue::from_static("1")),
        )
        .build()
        .unwrap();
    let duplicate = pool.insert(account("alice"));
    assert_eq!(duplicate, Err(PoolError::DuplicateId { id: "alice".into() }));
    let no_uri = pool.insert(account("carol").base_uri(Uri::from_static("/v1")));
    let fault = OriginFault::NoScheme;
    assert_eq!(no_uri, Err(PoolError::BaseUri { id: "carol".into(), fault }));
    let org = || Credential::header(HeaderName::from_static("x-org"), "tok-1234").unwrap();
    let collides = |id: &str| PoolError::HeaderCollides { id: id.into(), header: "x-org".into() };
    assert_eq!(pool.insert(Account::new("carol", org())), Err(collides("carol")));
    assert_eq!(pool.replace("alice", org()), Err(collides("alice")));
    let unknown = pool.replace("carol", org()).unwrap_err();
    assert_eq!(unknown.to_string(), "no account is called `carol`: insert it first");
    assert_eq!(pool.len(), 2);
}

#[test]
fn debug_output_holds_no_secret() {
    let reported = Reported::default();
    let secret = "tok-of-alice-0";
    let builder = accounts(&["alice"]).reporter(reported.reporter());
    assert!(!format!("{builder:?} {builder:#?}").contains(secret));
    let bench = Bench::new(builder);
    let mut lease = bench.pick().unwrap();
    let mut printed = format!("{lease:?} {:?} {:?}", bench.pool, account("alice"));
    let guarded = account("x")
        .header(HeaderName::from_static("x-hidden"), HeaderValue::from_static("tok-of-alice-0"));
    write!(printed, "{guarded:?} {:?}", bench.pool.insert(account("alice"))).unwrap();
    lease.rejected(crate::classify::Reason::Invalid, None, &mut bench.clock());
    write!(printed, "{:?} {:?} {:?}", reported.events(), bench.pool.view(), bench.pick()).unwrap();
    write!(printed, "{:?}", bench.pool.shared().roster.load().entries[0].current.load()).unwrap();
    #[cfg(feature = "serde")]
    {
        printed += &serde_json::to_string(&bench.pool.view()).unwrap();
    }
    assert!(printed.contains("alice") && !printed.contains(secret), "{printed}");
}

#[cfg(feature = "serde")]
#[test]
fn view_is_words_and_seconds() {
    let bench = Bench::new(accounts(&[]).account(account("alice").group("g").priority(3)));
    bench.pick().unwrap().limited(Some("m"), Some(secs(60)), &mut bench.clock());
    bench.pick().unwrap().rejected(crate::classify::Reason::Revoked, None, &mut bench.clock());
    let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
    assert_eq!(
        serde_json::to_value(&view).unwrap(),
        serde_json::json!({"accounts": [{
            "id": "alice", "ordinal": 1, "state": "quarantined", "reason": "credential_revoked",
            "out_of_quota": false, "usable_in": 3600.0,
            "counts": {"sent": 0, "succeeded": 0, "rejected": 0, "limited": 0},
            "in_flight": 0, "generation": 1, "group": "g", "priority": 3, "expires_in": null,
            "model_cooldowns": [{"model": "m", "usable_in": 60.0}],
        }]})
    );
}

#[test]
fn secrets_are_visited_with_up_to_eight_former_ones() {
    let pool = accounts(&["alice"]).build().unwrap();
    for i in 0..10 {
        pool.replace("alice", Credential::bearer(format!("new-tok-{i}")).unwrap()).unwrap();
    }
    let mut seen = Vec::new();
    pool.visit_secrets(&mut |secret| seen.push(String::from_utf8(secret.to_vec()).unwrap()));
    let expected: Vec<_> = [9, 1, 2, 3, 4, 5, 6, 7, 8].map(|i| format!("new-tok-{i}")).into();
    assert_eq!(seen, expected);
    assert!(!pool.too_many_secrets());
}

#[test]
fn last_handle_drops_every_secret() {
    let pool = accounts(&["alice", "bob"]).build().unwrap();
    let clone = pool.clone();
    let entry = std::sync::Arc::downgrade(&pool.shared().roster.load().entries[0]);
    let shared = std::sync::Arc::downgrade(pool.shared());
    pool.cool_down("alice", None, Duration::from_secs(1));
    pool.cool_down("bob", Some("m"), Duration::from_secs(1));
    drop(pool);
    assert!(entry.upgrade().is_some() && clone.len() == 2);
    drop(clone);
    assert!(entry.upgrade().is_none() && shared.upgrade().is_none());
}

#[test]
fn lease_outlives_its_pool() {
    let reported = Reported::default();
    let bench = Bench::new(accounts(&["alice"]).reporter(reported.reporter()));
    let mut lease = bench.pick().unwrap();
    let mut now = bench.clock();
    drop(bench);
    assert!(lease.still_good());
    assert!(lease.rejected(crate::classify::Reason::Invalid, None, &mut now).won);
    let events = reported.events();
    let [crate::report::Event::PoolDead(dead)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((dead.accounts, dead.cause.account.of), (1, 1));
    assert!(!lease.still_good());
}

#[test]
fn account_takes_at_most_600_bytes() {
    use std::mem::size_of;
    // Each in an `Arc` with two counts, one pointer in the list, two index entries with room to grow.
    let arcs = size_of::<entry::Entry>()
        + size_of::<crate::pool::account::PooledAccount>()
        + size_of::<crate::pool::account::Generation>();
    let lists = 8 + 2 * (size_of::<(std::sync::Arc<str>, u32)>() + 1 + size_of::<(u32, u32)>() + 1);
    let all = arcs + 3 * 16 + lists;
    assert!(all <= 600, "{all}");
}

#[test]
fn lease_is_small() {
    assert!(std::mem::size_of::<crate::pool::lease::Lease>() <= 40);
}

#[test]
fn handles_are_send_and_sync() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Pool>();
    anywhere::<crate::pool::PoolBuilder>();
    anywhere::<crate::pool::lease::Lease>();
    anywhere::<crate::pool::lease::InFlight>();
    anywhere::<crate::pool::PoolView>();
}

#[test]
fn cooldown_settings_set_the_cooldowns_without_a_hint() {
    let bench = Bench::new(
        accounts(&[])
            .account(account("limited"))
            .account(account("empty"))
            .account(account("missing"))
            .limited_cooldown(secs(2), secs(3))
            .out_of_quota_cooldown(secs(5))
            .model_cooldown(secs(7)),
    );
    bench.pinned("limited").unwrap().limited(None, None, &mut bench.clock());
    bench.pinned("empty").unwrap().out_of_quota(None, None, &mut bench.clock());
    bench.pinned("missing").unwrap().model_missing("m", None, &mut bench.clock());
    let view = crate::pool::view::view(bench.pool.shared(), &mut bench.clock());
    let usable_in: Vec<_> = view.accounts.iter().map(|account| account.usable_in).collect();
    assert_eq!(usable_in, [Some(secs(2)), Some(secs(5)), None]);
    assert_eq!(view.accounts[2].model_cooldowns[0].usable_in, secs(7));
}
